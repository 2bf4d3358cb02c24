//! The streams of several applications as one list, newest first: by id, then by application. Of each stream some entries are
//! fetched at a time, and always of that whose next entry would be the newest.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use futures_util::future::try_join_all;
use tidegate_actors::{
    message::{Message, MessageId, Position, StreamId},
    ports::{Entry, GenerationStart, LogError},
};

use super::{Bound, Cursor, Query, State};
use crate::{
    redis::{
        Redis,
        browse::{self, End, Head, Span},
        recent::generation_of,
    },
    resources::Document,
};

/// Above every id.
const TOP: StreamId = StreamId::new(u64::MAX, u64::MAX);
/// Entries of which one call looks at the heads.
const LOOK_AT: usize = browse::ENTRIES_PER_CALL;
/// Entries fetched at once where each of them is shown, or looked into by this node.
const FETCH: usize = 100;

/// What comes next in the list.
pub(super) enum Next {
    /// A message of this application.
    Message(String, MessageId, Arc<Message>),
    /// Something may, but this look has done enough.
    Later,
    /// Nothing.
    End,
}

/// One application's stream.
struct Source {
    application: String,
    generations: Vec<GenerationStart>,
    head: Head,
    span: Span,
    fetched: VecDeque<Entry>,
    ended: bool,
}

impl Source {
    /// Where its next entry is, or would be at the highest.
    fn front(&self) -> Option<StreamId> {
        if let Some(entry) = self.fetched.front() {
            return Some(entry.id());
        }
        if self.ended {
            return None;
        }
        Some(match self.span.from {
            None => TOP,
            Some(End::At(id) | End::Below(id)) => id,
        })
    }

    async fn fetch(&mut self, redis: &Redis, wanted: usize) -> Result<u64, LogError> {
        let found = browse::some(redis, &self.application, self.span, &self.head, LOOK_AT, wanted).await?;
        self.fetched.extend(found.entries);
        match found.last {
            Some(last) => self.span.from = Some(End::Below(last)),
            None => self.ended = true,
        }
        Ok(found.looked)
    }
}

/// The list, as far as it has been gone through.
pub(super) struct Merge<'a> {
    redis: &'a Redis,
    sources: Vec<Source>,
    fetch: usize,
    bound: Bound,
    began: Instant,
    /// Everything down to here has been handed out.
    passed: Option<(StreamId, String)>,
    /// Entries looked at.
    pub(super) looked: u64,
    /// Entries there are.
    pub(super) entries: u64,
    /// The newest of them.
    pub(super) newest: StreamId,
}

impl<'a> Merge<'a> {
    pub(super) async fn begin(
        redis: &'a Redis,
        document: &Document,
        query: &Query,
        cursor: Option<&Cursor>,
        bound: Bound,
    ) -> Result<Self, LogError> {
        let begun = document
            .applications
            .iter()
            .map(async |application| source(redis, document, query, cursor, &application.name).await);
        let begun: Vec<(Source, u64)> = try_join_all(begun).await?.into_iter().flatten().collect();
        let entries = begun.iter().map(|(_, entries)| entries).sum();
        let mut sources: Vec<Source> = begun.into_iter().map(|(source, _)| source).collect();
        sources.sort_by(|a, b| a.application.cmp(&b.application));
        let fetch = if query.field.is_some() { FETCH } else { bound.rows };
        let first = (2 * fetch / sources.len().max(1)).clamp(8, fetch.max(8));
        let looked = try_join_all(sources.iter_mut().map(|source| source.fetch(redis, first))).await?;
        let newest = sources.iter().filter_map(|source| source.fetched.front().map(Entry::id)).max();
        let passed = cursor.map(|cursor| (cursor.id, cursor.application.clone()));
        Ok(Self {
            redis,
            sources,
            fetch,
            bound,
            began: Instant::now(),
            passed,
            looked: looked.into_iter().sum(),
            entries,
            newest: newest.unwrap_or_default(),
        })
    }

    /// The source whose next entry comes first in the list.
    fn first(&self) -> Option<(usize, StreamId)> {
        let mut first: Option<(usize, StreamId)> = None;
        for (place, source) in self.sources.iter().enumerate() {
            if let Some(front) = source.front()
                && first.is_none_or(|(_, highest)| front > highest)
            {
                first = Some((place, front));
            }
        }
        first
    }

    /// Whether this look may go through more entries.
    pub(super) fn may_fetch(&self) -> bool {
        self.looked < self.bound.entries && self.began.elapsed() < self.bound.time
    }

    pub(super) async fn next(&mut self) -> Result<Next, LogError> {
        loop {
            let Some((place, _)) = self.first() else { return Ok(Next::End) };
            let may_fetch = self.may_fetch();
            let source = &mut self.sources[place];
            let Some(entry) = source.fetched.pop_front() else {
                if !may_fetch {
                    return Ok(Next::Later);
                }
                self.looked += source.fetch(self.redis, self.fetch).await?;
                continue;
            };
            self.passed = Some((entry.id(), source.application.clone()));
            // What can't be read has no topic, so no route wants it; the lane says what is the matter.
            if let Entry::Message(message) = entry {
                let generation = generation_of(&source.generations, message.id);
                let id = MessageId(Position { generation, id: message.id });
                return Ok(Next::Message(source.application.clone(), id, message));
            }
        }
    }

    /// Where to go on; none where nothing is left.
    pub(super) fn place(&self, looked: u64) -> Option<Cursor> {
        let (place, front) = self.first()?;
        let source = &self.sources[place];
        let (id, application) = if source.fetched.is_empty() && front != TOP {
            // Everything above its front was looked at, and of the others nothing is.
            match &self.passed {
                Some((id, application)) if *id == front => (*id, application.clone()),
                _ => (front, source.application.clone()),
            }
        } else {
            self.passed.clone()?
        };
        Some(Cursor { id, application, looked })
    }
}

async fn source(
    redis: &Redis,
    document: &Document,
    query: &Query,
    cursor: Option<&Cursor>,
    application: &str,
) -> Result<Option<(Source, u64)>, LogError> {
    if query.application.as_deref().is_some_and(|wanted| wanted != application) {
        return Ok(None);
    }
    let mut topics: Vec<String> = query.topic.iter().cloned().collect();
    let routes =
        || document.routes.iter().filter(|route| route.application == application && query.wants(document, route));
    if query.names_a_route() {
        topics = routes().map(|route| route.topic.clone()).collect();
        topics.sort_unstable();
        topics.dedup();
        if topics.is_empty() {
            return Ok(None);
        }
    }
    let extent = browse::extent(redis, application).await?;
    let mut above = query.since.unwrap_or_default();
    if let Some(ms) = query.from_ms {
        above = above.max(below(ms));
    }
    if matches!(query.status, Some(State::Pending | State::Held)) {
        let led_to =
            routes().filter_map(|route| document.destinations.iter().find(|one| one.name == route.destination));
        let led_to: Vec<&str> = led_to.map(|destination| destination.id.as_str()).collect();
        above = above.max(browse::waits_above(redis, application, &led_to).await?);
    }
    let mut from = query.to_ms.map(|ms| End::Below(StreamId::new(ms, 0)));
    if let Some(cursor) = cursor {
        // Of the same id, those of applications whose names come later are still to come.
        from = Some(if *application > *cursor.application { End::At(cursor.id) } else { End::Below(cursor.id) });
    }
    let head = Head { topics, key: query.key.clone(), own_id: query.own_id.clone(), action: query.action };
    let (application, generations) = (application.to_owned(), extent.generations);
    let span = Span { from, above };
    let source = Source { application, generations, head, span, fetched: VecDeque::new(), ended: false };
    Ok(Some((source, extent.entries)))
}

/// The highest id before a moment.
fn below(ms: u64) -> StreamId {
    ms.checked_sub(1).map_or(StreamId::ZERO, |ms| StreamId::new(ms, u64::MAX))
}
