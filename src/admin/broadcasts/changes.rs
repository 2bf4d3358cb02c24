//! What is done to a broadcast that is there: taken back, corrected, brought to mind again.

use super::{
    compose::{Draft, content, image_days},
    noted, of,
};
use crate::{
    admin::{ActError, Admin, Role, Who, fields::wrong},
    broadcast::{
        message::{Content, Kind, Message, State, Version},
        roll::Roll,
        store::CastError,
    },
};

/// Corrections that are remembered.
const MOST_VERSIONS: usize = 20;

/// Takes a broadcast back: it goes from the terminals that have it, and those that come on later never see it. One that is
/// scheduled is not sent. Doing it again changes nothing.
///
/// # Errors
/// They may not, there is none of this id, or Redis is away.
pub async fn recall(admin: &Admin, who: &Who, id: &str) -> Result<Message, ActError> {
    who.needs(Role::Broadcaster)?;
    let mut changes = false;
    let recalled = recall_as(admin, &who.name, id, |message| {
        changes = message.state != State::Recalled;
        true
    })
    .await?;
    if changes {
        noted(admin, who, format!("recall broadcast {id}")).await;
    }
    Ok(recalled)
}

pub(crate) async fn recall_as(
    admin: &Admin,
    by: &str,
    id: &str,
    mut theirs: impl FnMut(&Message) -> bool,
) -> Result<Message, ActError> {
    let broadcasts = of(admin);
    let changed = broadcasts.change(id, |message, now| {
        if !theirs(message) {
            return Err(CastError::Unknown);
        }
        let before = message.state;
        if before == State::Recalled {
            return Ok(None);
        }
        message.state = State::Recalled;
        message.recalled_ms = Some(now);
        message.recalled_by = Some(by.to_owned());
        Ok((before == State::Sent).then(|| message.entry(Kind::Recall)))
    });
    Ok(changed.await?)
}

/// Replaces what a broadcast says; its audience and its time of sending stay. Terminals that have it show the new text.
///
/// # Errors
/// They may not, there is none of this id, it was recalled, something that was given is wrong (fields as for
/// [`super::compose::send`]), or Redis is away.
pub async fn correct(admin: &Admin, who: &Who, id: &str, draft: &Draft) -> Result<Message, ActError> {
    who.needs(Role::Broadcaster)?;
    let document = admin.newest().await?;
    let broadcasts = of(admin);
    let (now, found) = broadcasts.load(&[id.to_owned()]).await?;
    let before = found.into_iter().next().flatten().ok_or(CastError::Unknown)?;
    // Shops may have gone since it was sent.
    let draft = Draft { audience: crate::broadcast::message::Audience::all(), ..draft.clone() };
    let mut wanted: Content = content(&draft, &document, now)?;
    if before.state == State::Scheduled && before.due_ms.is_some_and(|due| wanted.is_over(due)) {
        let message = "it would be over before it is sent; give a later time";
        return Err(ActError::Invalid(vec![wrong("valid_until", "before_sending", message)]));
    }
    if let Some(image) = &draft.image {
        wanted.image = Some(broadcasts.keep_image(image, image_days(&document, before.due_ms, now)).await?);
    } else if draft.kept_image != before.content.image {
        // Only what it shows already is kept: a digest is nobody's to name.
        wanted.image = None;
    }
    let mut changes = false;
    let changed = broadcasts.change(id, |message, now| {
        changes = false;
        if message.state == State::Recalled {
            return Err(CastError::Refused("it was recalled, and says nothing any more; send a new one".into()));
        }
        if message.content == wanted {
            return Ok(None);
        }
        changes = true;
        let earlier = std::mem::replace(&mut message.content, wanted.clone());
        if message.state == State::Scheduled {
            return Ok(None);
        }
        message.versions.push(Version { content: earlier, until_ms: now, by: who.name.to_string() });
        if message.versions.len() > MOST_VERSIONS {
            message.versions.remove(0);
        }
        message.corrected_ms = Some(now);
        Ok(Some(message.entry(Kind::Correct)))
    });
    let corrected = changed.await?;
    if changes {
        noted(admin, who, format!("correct broadcast {id}")).await;
    }
    Ok(corrected)
}

/// Brings a broadcast to mind again where it was not confirmed (or, where nothing must be confirmed, not received). Answers
/// with how many terminals that is.
///
/// # Errors
/// They may not, there is none of this id, it is not out, or Redis is away.
pub async fn remind(admin: &Admin, who: &Who, id: &str) -> Result<u64, ActError> {
    who.needs(Role::Broadcaster)?;
    let broadcasts = of(admin);
    let message = broadcasts.get(id).await?;
    let roll = Roll::call(&of(admin), &admin.document()).await?;
    let receipts = broadcasts.receipts(id).await?;
    let open = |id: &str| match receipts.get(id) {
        None => true,
        Some(receipt) => message.content.must_confirm && receipt.confirmed_ms.is_none(),
    };
    // What was sent before a terminal was enrolled is none of its own.
    let has = |created_ms: u64| message.sent_ms.is_none_or(|sent| created_ms <= sent);
    let rest: Vec<String> = roll
        .of(&message.audience)
        .filter(|terminal| open(&terminal.id) && (has(terminal.created_ms) || receipts.contains_key(&terminal.id)))
        .map(|terminal| terminal.id.clone())
        .collect();
    let many = rest.len() as u64;
    broadcasts
        .change(id, |message, now| {
            match message.state {
                State::Sent if !message.content.is_over(now) => {}
                State::Sent => return Err(CastError::Refused("it is over; nobody needs to be reminded of it".into())),
                State::Scheduled => return Err(CastError::Refused("it is not sent yet".into())),
                State::Recalled => return Err(CastError::Refused("it was recalled".into())),
            }
            if rest.is_empty() {
                return Ok(None);
            }
            message.reminded_ms = Some(now);
            let mut entry = message.entry(Kind::Remind);
            entry.terminals.clone_from(&rest);
            Ok(Some(entry))
        })
        .await?;
    if many > 0 {
        noted(admin, who, format!("remind of broadcast {id} (terminals: {many})")).await;
    }
    Ok(many)
}
