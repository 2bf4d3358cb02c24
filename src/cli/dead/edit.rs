//! `dead edit`: the record of one dead letter as it should have been, and a redrive with that.

use std::{
    io::{IsTerminal as _, Read as _, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, bail};

use super::{Filter, Letters, ask};
use crate::{
    admin::{dead_letters::record_of, json::pretty},
    config::Settings,
};

/// What a record may have at most, as at the door.
const MAX_RECORD_BYTES: u64 = 1 << 20;

pub(super) async fn edit(
    letters: &Letters,
    id: &str,
    filter: &Filter,
    data: Option<&Path>,
    force: bool,
    json: bool,
    settings: &Settings,
) -> anyhow::Result<ExitCode> {
    let lots = letters.find_ids(std::slice::from_ref(&id.to_owned()), filter).await?;
    let [lot] = lots.as_slice() else {
        bail!("`{id}` is a dead letter of several destinations: name one with --destination");
    };
    if lot.letters.len() > 1 {
        bail!("`{id}` is a dead letter of several routes: name one with --route");
    }
    let Some(letter) = letters.read(lot).await?.into_iter().next() else {
        bail!("the dead letter `{id}` is gone: somebody redrove or discarded it");
    };
    let begun = letter.edited.as_ref().unwrap_or(&letter.data);
    let text = match data {
        Some(file) => read(file)?,
        None => in_editor(&pretty(begun))?,
    };
    let record = record_of(&text)?;
    if data.is_none() && record == record_of(begun).unwrap_or_default() {
        bail!("the record is as it was; nothing was written");
    }
    ask::redrive_edited(letters, lot, &letter, force, &record, json, settings).await
}

fn read(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(MAX_RECORD_BYTES + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(MAX_RECORD_BYTES + 1).read_to_string(&mut text))
    };
    read.with_context(|| format!("cannot read {}; check the path and its rights", file.display()))?;
    Ok(text)
}

/// Opens the record in the operator's editor; what it is afterwards.
fn in_editor(record: &str) -> anyhow::Result<String> {
    if !std::io::stdin().is_terminal() {
        bail!("there is no terminal to edit the record in; give it with --data FILE, or - for standard input");
    }
    let editor =
        ["VISUAL", "EDITOR"].into_iter().find_map(|name| std::env::var(name).ok().filter(|editor| !editor.is_empty()));
    let editor = editor.unwrap_or_else(|| "vi".into());
    // Only the operator may read it: it may hold what a database is guarded for.
    let mut file = tempfile(&editor)?;
    file.1.write_all(record.as_bytes()).and_then(|()| file.1.write_all(b"\n"))?;
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let ended = std::process::Command::new(program).args(words).arg(&file.0).status();
    let text = std::fs::read_to_string(&file.0);
    let _ = std::fs::remove_file(&file.0);
    match ended {
        Ok(status) if status.success() => Ok(text?),
        Ok(_) => bail!("`{editor}` gave up; nothing was written"),
        Err(error) => bail!("`{editor}` does not start ({error}); set $EDITOR, or give the record with --data FILE"),
    }
}

fn tempfile(editor: &str) -> anyhow::Result<(std::path::PathBuf, std::fs::File)> {
    let name = format!("tidegate-record-{}.json", tidegate_actors::delivery::random_token(12));
    let path = std::env::temp_dir().join(name);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path).with_context(|| format!("cannot make {} for `{editor}`", path.display()))?;
    Ok((path, file))
}
