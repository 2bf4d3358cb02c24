//! The newest part of the log in memory, each entry drawn once as the bytes that every terminal is sent; and what a cursor
//! means after Redis was restarted, taken over by a replica, or emptied. Pure.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use tidegate_actors::{
    message::{MessageId, Position, StreamId},
    ports::GenerationStart,
};

use super::message::{Audience, Entry, Kind, Shown};

/// Most entries that are kept in memory.
pub(super) const MOST_ENTRIES: usize = 5_000;
/// Most bytes of them.
const MOST_BYTES: usize = 16 << 20;

/// An entry of the log, ready to be sent.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) id: StreamId,
    pub(super) kind: Kind,
    pub(super) message: Arc<str>,
    audience: Audience,
    terminals: HashSet<String>,
    valid_until_ms: Option<u64>,
    /// With its event id.
    pub(super) bytes: Bytes,
}

impl Piece {
    pub(super) fn new(at: &Position, entry: Entry) -> Self {
        let bytes = event(Some(at), &entry);
        Self {
            id: at.id,
            kind: entry.kind,
            message: entry.id.into(),
            audience: entry.audience,
            terminals: entry.terminals.into_iter().collect(),
            valid_until_ms: entry.content.and_then(|content| content.valid_until_ms),
            bytes,
        }
    }

    /// Whether this terminal is to have it now.
    pub(super) fn is_for(&self, terminal: &str, shop: &str, region: &str, now_ms: u64) -> bool {
        self.audience.has(shop, region)
            && (self.terminals.is_empty() || self.terminals.contains(terminal))
            && self.valid_until_ms.is_none_or(|until| until > now_ms)
    }

    /// Whether it says what a recall takes back.
    pub(super) fn says(&self) -> bool {
        matches!(self.kind, Kind::Message | Kind::Correct | Kind::Remind)
    }

    /// Whether it tells of a new broadcast.
    pub(super) fn is_new(&self) -> bool {
        self.kind == Kind::Message
    }

    fn size(&self) -> usize {
        self.bytes.len() + self.terminals.len() * 48 + 256
    }
}

/// The event of an entry, with the id by which a terminal goes on after it.
pub(super) fn event(at: Option<&Position>, entry: &Entry) -> Bytes {
    let id = at.map_or(String::new(), |at| format!("id: {}\n", MessageId(at.clone())));
    let data = match &entry.content {
        Some(content) => {
            serde_json::to_string(&Shown::of(&entry.id, content, entry.sent_ms, entry.corrected_ms)).unwrap_or_default()
        }
        // Ids are letters and digits.
        None => format!("{{\"id\":\"{}\"}}", entry.id),
    };
    format!("{id}event: {}\ndata: {data}\n\n", entry.kind.as_str()).into()
}

/// What is in memory of the log: everything above `from`, up to `to`.
#[derive(Debug, Default)]
pub(super) struct Window {
    pub(super) from: StreamId,
    pub(super) to: StreamId,
    entries: VecDeque<Piece>,
    bytes: usize,
    recalled: HashSet<Arc<str>>,
}

/// What a terminal at some place is to be sent next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This, and it stands there then; with the broadcast's id where it is new.
    Send(StreamId, Bytes, Option<Arc<str>>),
    /// Nothing up to here.
    Nothing(StreamId),
    /// What is asked for lies below; the window begins above this.
    Below(StreamId),
}

impl Window {
    /// An empty one behind this place.
    pub(super) fn behind(from: StreamId) -> Self {
        Self { from, to: from, ..Self::default() }
    }

    /// One more at the end.
    pub(super) fn push(&mut self, piece: Piece) {
        if piece.id <= self.to {
            return;
        }
        self.to = piece.id;
        if piece.kind == Kind::Recall {
            self.recalled.insert(piece.message.clone());
        }
        self.bytes += piece.size();
        self.entries.push_back(piece);
        while self.entries.len() > MOST_ENTRIES || (self.bytes > MOST_BYTES && self.entries.len() > 1) {
            let Some(gone) = self.entries.pop_front() else { break };
            self.bytes -= gone.size();
            self.from = gone.id;
            if gone.kind == Kind::Recall {
                self.recalled.remove(&gone.message);
            }
        }
    }

    /// What comes after a place. What was recalled since is passed over; the recall itself is not.
    pub(super) fn after(&self, place: StreamId, wanted: impl Fn(&Piece) -> bool) -> Next {
        if place < self.from {
            return Next::Below(self.from);
        }
        let first = self.entries.partition_point(|piece| piece.id <= place);
        let found = self
            .entries
            .range(first..)
            .find(|piece| wanted(piece) && !(piece.says() && self.recalled.contains(&piece.message)));
        match found {
            Some(piece) => Next::Send(piece.id, piece.bytes.clone(), piece.is_new().then(|| piece.message.clone())),
            None => Next::Nothing(self.to.max(place)),
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries.len()
    }
}

/// Where a cursor stands in the log as it is now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Translated {
    /// Here.
    At(StreamId),
    /// Here, and what came between is lost.
    Lost(StreamId),
    /// It is of a log that nobody remembers.
    Unknown,
}

/// Where a cursor of whichever generation stands now. Ids go on over a restart; a replica that lagged behind begins below what
/// it lost; a log that was emptied begins anew.
pub(super) fn translate(generations: &[GenerationStart], cursor: &Position) -> Translated {
    let Some(place) = generations.iter().rposition(|start| start.generation == cursor.generation) else {
        return Translated::Unknown;
    };
    let end = generations[place + 1..].iter().map(|start| start.after).min();
    match end {
        Some(end) if cursor.id > end => Translated::Lost(end),
        _ => Translated::At(cursor.id),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tidegate_actors::message::Generation;

    use super::*;
    use crate::broadcast::message::Content;

    fn at(ms: u64) -> Position {
        Position { generation: Generation::new("g"), id: StreamId::new(ms, 0) }
    }

    fn piece(ms: u64, kind: Kind, message: &str, shop: &str) -> Piece {
        let content = (kind == Kind::Message).then(|| Content {
            title: "a\n\"b\"".into(),
            valid_until_ms: Some(1_000),
            ..Content::default()
        });
        let audience = Audience { shops: vec![shop.into()], ..Audience::default() };
        let entry =
            Entry { kind, id: message.into(), audience, content, sent_ms: ms, corrected_ms: None, terminals: vec![] };
        Piece::new(&at(ms), entry)
    }

    #[test]
    fn an_event_is_one_line_of_data_and_carries_its_place() {
        let bytes = piece(5, Kind::Message, "m1", "s").bytes;
        let text = std::str::from_utf8(&bytes).unwrap();
        assert!(text.starts_with("id: g-5-0\nevent: message\ndata: {\"id\":\"m1\","), "{text}");
        assert!(text.ends_with("}\n\n") && text.matches('\n').count() == 4, "{text}");
        assert_eq!(piece(6, Kind::Recall, "m1", "s").bytes, "id: g-6-0\nevent: recall\ndata: {\"id\":\"m1\"}\n\n");
    }

    #[test]
    fn each_shop_takes_its_own_from_the_window() {
        let mut window = Window::behind(StreamId::new(1, 0));
        window.push(piece(2, Kind::Message, "m1", "a"));
        window.push(piece(3, Kind::Message, "m2", "b"));
        let next = |place: u64, shop: &str, now: u64| {
            window.after(StreamId::new(place, 0), |piece| piece.is_for("t", shop, "", now))
        };
        assert!(matches!(next(1, "b", 0), Next::Send(id, ..) if id == StreamId::new(3, 0)));
        assert_eq!(next(3, "b", 0), Next::Nothing(StreamId::new(3, 0)));
        assert_eq!(next(2, "a", 0), Next::Nothing(StreamId::new(3, 0)), "and it need not be looked at again");
        assert_eq!(next(0, "a", 0), Next::Below(StreamId::new(1, 0)));
        assert_eq!(next(1, "a", 1_000), Next::Nothing(StreamId::new(3, 0)), "it is over");
    }

    #[test]
    fn what_was_recalled_is_passed_over() {
        let mut window = Window::behind(StreamId::ZERO);
        window.push(piece(2, Kind::Message, "m1", "a"));
        window.push(piece(3, Kind::Recall, "m1", "a"));
        let next = window.after(StreamId::ZERO, |_| true);
        assert!(matches!(next, Next::Send(id, ..) if id == StreamId::new(3, 0)), "{next:?}");
    }

    #[test]
    fn the_window_is_bounded() {
        let mut window = Window::behind(StreamId::ZERO);
        for ms in 1..=(MOST_ENTRIES as u64 + 10) {
            window.push(piece(ms, Kind::Message, "m", "a"));
        }
        assert_eq!((window.len(), window.from), (MOST_ENTRIES, StreamId::new(10, 0)));
    }

    #[test]
    fn a_cursor_goes_on_over_a_restart_and_tells_what_is_lost() {
        let start =
            |token: &str, ms| GenerationStart { generation: Generation::new(token), after: StreamId::new(ms, 0) };
        let restarted = [start("g", 0), start("h", 10)];
        assert_eq!(translate(&restarted, &at(10)), Translated::At(StreamId::new(10, 0)));
        // A replica that lagged behind.
        assert_eq!(translate(&restarted, &at(12)), Translated::Lost(StreamId::new(10, 0)));
        assert_eq!(translate(&[start("h", 0)], &at(3)), Translated::Unknown);
        // Emptied, while what stood beside it was kept.
        assert_eq!(translate(&[start("g", 0), start("h", 0)], &at(3)), Translated::Lost(StreamId::ZERO));
    }
}
