//! The last document a node knew, in a file of its `state_dir`, so that it starts while Redis is away and can put the
//! registry back into an emptied one.
//!
//! Sealed with the master key where there is one; written beside and renamed, so that a crash leaves the old or the new.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::secrets::{MasterKey, SecretError};
use crate::resources::{Document, Sealed};

const FILE: &str = "registry.snapshot";
const FORMAT: u32 = 1;

/// Why a snapshot cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file system says no.
    #[error("snapshot {path}: {source}; check `state_dir` and its rights")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// It is no snapshot that this version understands.
    #[error("snapshot {path} cannot be understood ({why}); remove it, and it is written anew from Redis")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// It was sealed and cannot be opened.
    #[error("snapshot {path} is sealed: {source}")]
    Sealed {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: SecretError,
    },
}

/// The file's contents. What stands beside the sealed document is bound to it as associated data.
#[derive(Serialize, Deserialize)]
struct Envelope {
    format: u32,
    prefix: String,
    installation: String,
    version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<Sealed>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    document: Option<Document>,
}

impl Envelope {
    fn bound_to(&self) -> String {
        format!("snapshot/{}/{}/{}", self.prefix, self.installation, self.version)
    }
}

/// Where a node keeps its snapshot, and what seals it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    folder: PathBuf,
    prefix: String,
    key: Option<Arc<MasterKey>>,
}

impl Snapshot {
    /// The snapshot of the installation of this prefix, in this folder.
    #[must_use]
    pub fn new(state_dir: &Path, prefix: &str, key: Option<Arc<MasterKey>>) -> Self {
        Self { folder: state_dir.to_owned(), prefix: prefix.to_owned(), key }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    /// The document as last written; `None` where there is none, or one of another prefix.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub fn read(&self) -> Result<Option<Document>, SnapshotError> {
        let path = self.path();
        let unreadable = |why: String| SnapshotError::Unreadable { path: path.clone(), why };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(SnapshotError::Io { path, source }),
        };
        let mut envelope: Envelope = serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
        if envelope.format != FORMAT {
            return Err(unreadable(format!("its format is {}, not {FORMAT}", envelope.format)));
        }
        if envelope.prefix != self.prefix {
            return Ok(None);
        }
        if let Some(sealed) = &envelope.sealed {
            let opened = match &self.key {
                Some(key) => key.open_bytes(&envelope.bound_to(), sealed),
                None => Err(SecretError::NoMasterKey),
            };
            let opened = opened.map_err(|source| SnapshotError::Sealed { path: path.clone(), source })?;
            return serde_json::from_slice(&opened).map(Some).map_err(|error| unreadable(error.to_string()));
        }
        Ok(envelope.document.take())
    }

    /// The installation that the snapshot is of, which needs no key; `None` as for [`Snapshot::read`].
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub fn installation(&self) -> Result<Option<String>, SnapshotError> {
        let path = self.path();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(SnapshotError::Io { path, source }),
        };
        let envelope: Envelope = serde_json::from_slice(&bytes)
            .map_err(|error| SnapshotError::Unreadable { path, why: error.to_string() })?;
        Ok((envelope.prefix == self.prefix).then_some(envelope.installation))
    }

    /// Writes the document: all of it, or the file stays as it was. Only the owner may read it.
    ///
    /// # Errors
    /// The file system says no.
    pub fn write(&self, document: &Document) -> Result<(), SnapshotError> {
        let path = self.path();
        let mut envelope = Envelope {
            format: FORMAT,
            prefix: self.prefix.clone(),
            installation: document.installation.clone(),
            version: document.version,
            sealed: None,
            document: None,
        };
        let encoded = |value: serde_json::Result<Vec<u8>>| {
            value.map_err(|error| SnapshotError::Unreadable { path: path.clone(), why: error.to_string() })
        };
        match &self.key {
            Some(key) => {
                let plain = encoded(serde_json::to_vec(document))?;
                envelope.sealed = Some(key.seal_bytes(&envelope.bound_to(), &plain));
            }
            None => envelope.document = Some(document.clone()),
        }
        let bytes = encoded(serde_json::to_vec(&envelope))?;
        self.put(&bytes).map_err(|source| SnapshotError::Io { path, source })
    }

    fn put(&self, bytes: &[u8]) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        // Two nodes on one machine may share the folder: each writes a file of its own and renames it.
        let beside = self.folder.join(format!("{FILE}.{}", std::process::id()));
        let written = (|| {
            let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&beside, self.path())?;
            fs::File::open(&self.folder)?.sync_all()
        })();
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        written
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::resources::Application;

    fn document(version: u64) -> Document {
        let canary = Application {
            name: "canary-app".into(),
            topics: vec![],
            schemas: Default::default(),
            records_per_s: None,
            broadcasts: false,
            created_at_ms: 1,
            keys: vec![],
        };
        Document { version, installation: "inst".into(), applications: vec![canary], ..Document::default() }
    }

    #[test]
    fn a_sealed_snapshot_comes_back_and_shows_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let key = Arc::new(MasterKey::generate());
        let snapshot = Snapshot::new(&folder.path().join("state"), "tidegate", Some(key.clone()));
        assert!(snapshot.read().unwrap().is_none());
        for version in [1, 2] {
            snapshot.write(&document(version)).unwrap();
            assert_eq!(snapshot.read().unwrap(), Some(document(version)));
        }
        let text = fs::read_to_string(snapshot.path()).unwrap();
        assert!(!text.contains("canary-app"), "{text}");
        assert_eq!(fs::metadata(snapshot.path()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path().join("state")).unwrap().count(), 1, "nothing is left beside it");
        let changed = text.replace("\"version\":2", "\"version\":3");
        fs::write(snapshot.path(), changed).unwrap();
        assert!(matches!(snapshot.read(), Err(SnapshotError::Sealed { source: SecretError::Damaged, .. })));
    }

    #[test]
    fn without_its_key_it_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        Snapshot::new(folder.path(), "tidegate", Some(Arc::new(MasterKey::generate()))).write(&document(1)).unwrap();
        let none = Snapshot::new(folder.path(), "tidegate", None).read().unwrap_err();
        assert!(none.to_string().contains("there is no master key"), "{none}");
        let other = Snapshot::new(folder.path(), "tidegate", Some(Arc::new(MasterKey::generate()))).read().unwrap_err();
        assert!(other.to_string().contains("sealed with the master key"), "{other}");
        let another_prefix = Snapshot::new(folder.path(), "second", None);
        assert!(another_prefix.read().unwrap().is_none());
    }

    #[test]
    fn without_a_master_key_it_is_kept_in_the_clear() {
        let folder = tempfile::tempdir().unwrap();
        let snapshot = Snapshot::new(folder.path(), "tidegate", None);
        snapshot.write(&document(4)).unwrap();
        assert_eq!(snapshot.read().unwrap(), Some(document(4)));
        fs::write(snapshot.path(), "{").unwrap();
        assert!(matches!(snapshot.read(), Err(SnapshotError::Unreadable { .. })));
    }
}
