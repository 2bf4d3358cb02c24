//! `tidegate demo`, as a first-time user runs it: two nodes behind HAProxy, a database away, a node killed, and the check.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

/// Whether a process has this folder's name in its command line or its environment.
pub(crate) fn anybody_in(folder: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut files = processes.flat_map(|process| ["cmdline", "environ"].map(|file| process.path().join(file)));
    files.any(|file| std::fs::read(file).is_ok_and(|text| String::from_utf8_lossy(&text).contains(folder)))
}

fn demo(folder: &tempfile::TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(["demo", "--once", "--records", "1500"]).env("TMPDIR", folder.path()).stdin(Stdio::null());
    command
}

#[test]
fn the_demo_kills_the_busiest_databases_node_and_finds_every_record_once() {
    let folder = crate::servers::temp_dir();
    let output = demo(&folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    for step in 1..=7 {
        assert!(said.contains(&format!("\n{step}. ")), "step {step} is not told:\n{said}");
    }
    assert!(said.contains("it writes archive, the busiest database"), "{said}");
    assert!(said.contains("taken over and written on"), "{said}");
    assert!(said.contains("every record exactly once, in order: nothing lost, nothing twice"), "{said}");
    assert!(!said.contains('\u{1b}'), "plain lines where there is no terminal:\n{said}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the folder is gone");
    assert!(!anybody_in(&folder.path().display().to_string()), "something is left running");
}

#[test]
fn a_demo_that_is_interrupted_leaves_nothing_running() {
    let folder = crate::servers::temp_dir();
    let mut demo = demo(&folder).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    // Both nodes, Redis and HAProxy are there, and the producer sends.
    assert!(lines.by_ref().any(|line| line.unwrap().starts_with("2. ")), "the demo ended before it sent anything");
    assert!(anybody_in(&folder.path().display().to_string()));
    assert!(Command::new("kill").args(["-INT", &demo.id().to_string()]).status().unwrap().success());
    let said: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(demo.wait().unwrap().code(), Some(130));
    assert!(said.iter().any(|line| line.contains("Nothing is left running")), "{said:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the folder is gone");
    assert!(!anybody_in(&folder.path().display().to_string()), "something is left running");
}
