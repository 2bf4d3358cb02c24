//! What outlives the program: the token, the place in the log, what was shown already, receipts that were not answered and
//! messages that nobody has confirmed. One file, which only its owner can read, replaced as a whole.

use std::{
    collections::{BTreeMap, VecDeque},
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// Messages that are known again when they come once more.
const MOST_SEEN: usize = 1_000;
/// Messages whose text is kept, for reminders.
const MOST_TEXTS: usize = 50;

/// A message as it is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Message {
    pub(super) id: String,
    #[serde(default)]
    pub(super) category: String,
    #[serde(default)]
    pub(super) title: String,
    #[serde(default)]
    pub(super) text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) image: Option<String>,
    #[serde(default)]
    pub(super) sent_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) valid_until: Option<String>,
    #[serde(default)]
    pub(super) must_confirm: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) corrected_at: Option<String>,
}

/// What is known of a message that was shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    id: String,
    /// When the version that was shown was made; empty for the first.
    version: String,
    pub(super) confirmed: bool,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Kept {
    /// A digest of the code that the token came from.
    pub(super) code: String,
    pub(super) token: String,
    pub(super) cursor: Option<String>,
    /// Receipts that were not answered, and whether each confirms.
    pub(super) receipts: BTreeMap<String, bool>,
    pub(super) seen: VecDeque<Seen>,
    /// Must be confirmed, the oldest first.
    pub(super) open: VecDeque<Message>,
    pub(super) texts: VecDeque<Message>,
}

/// Whether a message is to be shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    New,
    /// In place of what was shown.
    Corrected,
    /// It was shown already.
    Known,
}

impl Kept {
    /// A message came, or its correction. It is owed a receipt in any case: where it comes again, ours may be lost.
    pub(super) fn arrive(&mut self, message: &Message) -> Arrival {
        let version = message.corrected_at.clone().unwrap_or_default();
        let known = self.seen.iter().position(|seen| seen.id == message.id);
        if let Some(known) = known.and_then(|place| self.seen.get(place))
            && known.version >= version
        {
            let confirmed = known.confirmed;
            self.owe(&message.id, confirmed);
            return Arrival::Known;
        }
        if let Some(place) = known {
            self.seen.remove(place);
        }
        self.seen.push_back(Seen { id: message.id.clone(), version, confirmed: false });
        self.forget(&message.id);
        self.texts.push_back(message.clone());
        if message.must_confirm {
            self.open.push_back(message.clone());
        }
        while self.seen.len() > MOST_SEEN {
            self.seen.pop_front();
        }
        while self.texts.len() > MOST_TEXTS {
            self.texts.pop_front();
        }
        self.owe(&message.id, false);
        if known.is_some() { Arrival::Corrected } else { Arrival::New }
    }

    /// A message was taken back; what it was, where it is known.
    pub(super) fn recall(&mut self, id: &str) -> Option<Message> {
        let known = self.text(id);
        self.forget(id);
        known
    }

    /// Head office asks again; what is to be shown.
    pub(super) fn remind(&mut self, id: &str) -> Option<Message> {
        let seen = self.seen.iter().find(|seen| seen.id == id)?;
        let confirmed = seen.confirmed;
        self.owe(id, confirmed);
        if confirmed { None } else { self.text(id) }
    }

    /// Somebody here has confirmed this one, or the oldest that must be.
    pub(super) fn confirm(&mut self, id: Option<&str>) -> Option<Message> {
        let place = id.map_or(Some(0), |id| self.open.iter().position(|message| message.id == id))?;
        let message = self.open.remove(place)?;
        if let Some(seen) = self.seen.iter_mut().find(|seen| seen.id == message.id) {
            seen.confirmed = true;
        }
        self.owe(&message.id, true);
        Some(message)
    }

    /// These were answered as they were given.
    pub(super) fn answered(&mut self, part: &[(String, bool)]) {
        for (id, confirmed) in part {
            // Confirmed meanwhile: that is another receipt.
            if self.receipts.get(id) == Some(confirmed) {
                self.receipts.remove(id);
            }
        }
    }

    fn owe(&mut self, id: &str, confirmed: bool) {
        let owed = self.receipts.entry(id.to_owned()).or_default();
        *owed |= confirmed;
    }

    fn text(&self, id: &str) -> Option<Message> {
        self.open.iter().chain(&self.texts).find(|message| message.id == id).cloned()
    }

    fn forget(&mut self, id: &str) {
        self.open.retain(|message| message.id != id);
        self.texts.retain(|message| message.id != id);
    }
}

/// The file.
pub(super) struct Keeper {
    path: PathBuf,
    pub(super) kept: Kept,
}

impl Keeper {
    /// What the file holds; nothing where there is none.
    pub(super) fn open(path: PathBuf) -> anyhow::Result<Self> {
        let kept = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                format!("{} can't be understood; remove it and enrol this computer anew", path.display())
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Kept::default(),
            Err(error) => return Err(error).with_context(|| format!("{} can't be read", path.display())),
        };
        Ok(Self { path, kept })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the file.
    pub(super) fn save(&self) -> anyhow::Result<()> {
        self.put().with_context(|| format!("{} can't be written; look at its folder's rights", self.path.display()))
    }

    fn put(&self) -> io::Result<()> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut make = fs::DirBuilder::new();
        make.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut make, 0o700);
        make.create(folder)?;
        let mut beside = self.path.clone().into_os_string();
        beside.push(format!(".{}", std::process::id()));
        let written = (|| {
            let mut options = fs::OpenOptions::new();
            options.write(true).create(true).truncate(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options.open(&beside)?;
            file.write_all(&serde_json::to_vec(&self.kept)?)?;
            file.sync_all()?;
            fs::rename(&beside, &self.path)
        })();
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        written
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn message(id: &str, corrected_at: Option<&str>) -> Message {
        Message {
            id: id.into(),
            title: id.to_uppercase(),
            must_confirm: true,
            corrected_at: corrected_at.map(str::to_owned),
            ..Message::default()
        }
    }

    #[test]
    fn a_message_is_shown_once_and_owed_a_receipt_whenever_it_comes() {
        let mut kept = Kept::default();
        assert_eq!(kept.arrive(&message("a", None)), Arrival::New);
        kept.answered(&[("a".into(), false)]);
        assert!(kept.receipts.is_empty());
        assert_eq!(kept.arrive(&message("a", None)), Arrival::Known);
        assert_eq!(kept.receipts.get("a"), Some(&false));
        assert_eq!(kept.arrive(&message("a", Some("2026-01-01T00:00:00.000Z"))), Arrival::Corrected);
        assert_eq!(kept.arrive(&message("a", None)), Arrival::Known, "an old version");
        assert_eq!(kept.open.len(), 1);
    }

    #[test]
    fn what_was_confirmed_while_its_receipt_was_on_the_way_is_said_again() {
        let mut kept = Kept::default();
        kept.arrive(&message("a", None));
        let part = [("a".to_owned(), false)];
        assert_eq!(kept.confirm(None).unwrap().id, "a");
        assert_eq!(kept.confirm(None), None);
        kept.answered(&part);
        assert_eq!(kept.receipts.get("a"), Some(&true));
        assert_eq!(kept.remind("a"), None, "confirmed already");
    }

    #[test]
    fn a_reminder_shows_what_is_open_and_a_recall_closes_it() {
        let mut kept = Kept::default();
        kept.arrive(&message("a", None));
        assert_eq!(kept.remind("a").unwrap().title, "A");
        assert_eq!(kept.remind("never heard of"), None);
        assert_eq!(kept.recall("a").unwrap().title, "A");
        assert_eq!((kept.remind("a"), kept.confirm(None)), (None, None));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut kept = Kept::default();
        for number in 0..MOST_SEEN + 10 {
            kept.arrive(&Message { must_confirm: false, ..message(&format!("m{number}"), None) });
        }
        assert_eq!((kept.seen.len(), kept.texts.len()), (MOST_SEEN, MOST_TEXTS));
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/listen.json");
        let mut keeper = Keeper::open(path.clone()).unwrap();
        keeper.kept.arrive(&message("a", None));
        keeper.save().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Keeper::open(path.clone()).unwrap().kept, keeper.kept);
        fs::write(&path, "{").unwrap();
        assert!(Keeper::open(path).is_err());
    }
}
