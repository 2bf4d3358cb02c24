//! Bare bulk writers: the best that a client can do that has its rows in memory, 2,000 rows in one statement or
//! transaction, one after the other, and nothing else. They are what delivery is held against.
//!
//! A writer is this program once more, as a process of its own: it prepares everything, says so, waits for the word, and
//! takes its own time.

mod mariadb;
mod postgres;
mod sqlite;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::{
    databases::{Database, Kind},
    machine,
    shape::Shape,
};

/// Rows of one statement.
const ROWS: usize = 2_000;

/// What one writer does.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    kind: Kind,
    url: String,
    shape: Shape,
    upsert: bool,
    records: usize,
}

impl Task {
    pub(crate) fn new(database: &Database, upsert: bool, records: usize) -> Self {
        Self { kind: database.kind, url: database.url.clone(), shape: database.shape, upsert, records }
    }

    /// The numbers of the records, statement by statement.
    fn batches(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let end = self.records + 1;
        (1..end).step_by(ROWS).map(move |first| first..end.min(first + ROWS))
    }

    /// `car_name = new(car_name), …`: what an upsert sets.
    fn sets(&self, new: impl Fn(&str) -> String) -> String {
        let columns = self.shape.columns().iter().skip(1);
        columns.map(|column| format!("{column} = {}", new(column))).collect::<Vec<_>>().join(", ")
    }
}

/// What a writer says at its end.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Span {
    begun: f64,
    ended: f64,
    cpu_s: f64,
}

/// The writer's side of its clock.
struct Clock(Duration, f64);

impl Clock {
    /// To be called when everything is prepared: waits for the word.
    fn start() -> Self {
        let mut line = String::new();
        println!("ready");
        std::io::stdin().read_line(&mut line).unwrap();
        Self(machine::cpu(std::process::id()), now())
    }

    fn stop(self) {
        let (ended, cpu) = (now(), machine::cpu(std::process::id()));
        let cpu_s = (cpu - self.0).as_secs_f64();
        println!("{}", serde_json::to_string(&Span { begun: self.1, ended, cpu_s }).unwrap());
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// A writer's process: prepares, waits for a line, writes, says how long it took.
pub(crate) fn write(task: &str) {
    let task: Task = serde_json::from_str(task).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match task.kind {
        Kind::Postgres => runtime.block_on(postgres::write(&task)),
        Kind::Mariadb => runtime.block_on(mariadb::write(&task)),
        Kind::Sqlite => sqlite::write(&task),
    }
}

/// Writers that are ready and wait for the word.
pub(crate) struct Writers(Vec<(Child, BufReader<ChildStdout>)>);

/// What writers took together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    /// From the first one's beginning to the last one's end.
    pub(crate) seconds: f64,
    /// The writers' own processor time.
    pub(crate) cpu: Duration,
}

impl Writers {
    /// Starts one process for each task and waits until all have prepared.
    pub(crate) fn start(tasks: &[Task]) -> Self {
        let spawn = |task: &Task| {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["bare", &serde_json::to_string(task).unwrap()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let output = BufReader::new(child.stdout.take().unwrap());
            (child, output)
        };
        let mut writers = Self(tasks.iter().map(spawn).collect());
        for (_, output) in &mut writers.0 {
            assert_eq!(line(output), "ready");
        }
        writers
    }

    /// Gives the word, and waits for the last one.
    pub(crate) fn go(mut self) -> Took {
        for (child, _) in &mut self.0 {
            child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        }
        let mut spans: Vec<Span> = Vec::new();
        for (child, output) in &mut self.0 {
            spans.push(serde_json::from_str(&line(output)).unwrap());
            assert!(child.wait().unwrap().success());
        }
        let begun = spans.iter().map(|span| span.begun).fold(f64::INFINITY, f64::min);
        let ended = spans.iter().map(|span| span.ended).fold(0.0, f64::max);
        Took { seconds: ended - begun, cpu: Duration::from_secs_f64(spans.iter().map(|span| span.cpu_s).sum()) }
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        for (child, _) in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn line(output: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    line.trim().to_owned()
}
