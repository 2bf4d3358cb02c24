//! What happens in the demo, step by step: load, a database away, a node killed, both back, the check. Each step waits for
//! what it tells, so nothing is said that was not seen.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use super::{
    check,
    databases::Database,
    records::Records,
    scene::{Row, Scene},
    servers::Servers,
};
use crate::cli::table::{count, of, width};

/// Longest time for the nodes to share the destinations out.
const SHARED_WITHIN: Duration = Duration::from_secs(15);

/// Tells the story; whether the check found everything right.
pub(super) async fn tell(
    mut scene: Scene<'_>,
    servers: Option<&Servers>,
    records: Records,
    feed: impl Future<Output = anyhow::Result<()>> + 'static,
) -> anyhow::Result<bool> {
    let total = scene.total;
    let example = serde_json::to_string(&serde_json::json!({"stock": "4", "car_name": "porche 911 15"}))?;
    scene
        .say("1. Five databases are registered. The two nodes share them out: one node at a time writes a database.")?;
    scene.shared_out().await?;
    let before = scene.owners();
    scene.say(&format!("   {before}"))?;

    scene.say(&format!(
        "\n2. A producer sends {}, such as {example}, once each, to HAProxy.\n   Each database gets the columns it wants.",
        of(usize::try_from(total).unwrap_or(usize::MAX), "record")
    ))?;
    scene.feeding = Some(actix_rt::spawn(feed));
    scene.until(|scene| scene.sent() >= total / 6).await?;
    scene.snapshot()?;

    let away: Vec<usize> = (0..scene.databases.len()).filter(|n| is_taken_away(&scene.databases[*n])).collect();
    scene.say(&format!(
        "3. {} taken away. Its records wait in Redis; nobody else notices.",
        match servers {
            Some(_) => "The workshop's file is moved away, the accounting's PostgreSQL is stopped: two databases are",
            None => "The workshop's database file is moved out of reach: one database is",
        }
    ))?;
    let (gone_at, sent_before) = (Instant::now(), scene.sent());
    let (here, elsewhere) = (scene.stage.folder.join("workshop"), scene.stage.folder.join("workshop-away"));
    std::fs::rename(&here, &elsewhere).context("the workshop's file could not be moved")?;
    if let Some(servers) = servers {
        servers.stop_postgres().await?;
    }
    let waits = |row: &Row| row.is_away() && row.waiting > 0;
    scene.until(|scene| scene.sent() >= total * 2 / 6 && away.iter().all(|n| waits(&scene.rows[*n]))).await?;
    scene.snapshot()?;

    let lost = node_is_killed(&mut scene).await?;

    let waited: Vec<String> = away.iter().map(|n| count(scene.rows[*n].waiting)).collect();
    let (gone_for, meanwhile) = (gone_at.elapsed(), scene.sent() - sent_before);
    let names: Vec<&str> = away.iter().map(|n| scene.databases[*n].name).collect();
    let names = names.join(" and ");
    scene.say(&format!(
        "5. Back: {names}. What waited is written now, in order, by {}, while new records go on coming.",
        scene.rows[away[0]].owner.unwrap_or("the other node"),
    ))?;
    std::fs::rename(&elsewhere, &here).context("the workshop's file could not be moved back")?;
    if let Some(servers) = servers {
        servers.start_postgres().await?;
    }
    let back_at = Instant::now();
    let last_waits = |scene: &Scene<'_>| away.iter().all(|n| scene.rows[*n].waiting == 0 && !scene.rows[*n].is_away());
    scene.until(last_waits).await?;
    let caught_up = back_at.elapsed();
    scene.snapshot()?;

    let regained = node_comes_back(&mut scene, lost.node).await?;
    scene
        .until(|scene| scene.sent() >= total && scene.rows.iter().all(|row| row.written >= total && row.waiting == 0))
        .await?;
    scene.snapshot()?;

    scene.say("7. The check: every database is read and held against what was sent.\n")?;
    let (table, right) = check::check(scene.databases, records).await?;
    for line in table.lines(width().map(|width| width - 3)) {
        scene.say(&format!("   {line}"))?;
    }
    scene.say(&format!(
        "\n   {names} {} away for {:.1} s: {} records waited in Redis, while the other {} databases\n   \
         went on with {}. {:.1} s after the return everything had caught up.",
        if away.len() == 1 { "was" } else { "were" },
        gone_for.as_secs_f64(),
        waited.join(" and "),
        ["no", "one", "two", "three", "four", "five"].get(scene.databases.len() - away.len()).unwrap_or(&"many"),
        count(meanwhile),
        caught_up.as_secs_f64(),
    ))?;
    let name = scene.stage.nodes[lost.node].name;
    scene.say(&format!(
        "   {name} was killed: {} wrote on in its place after {:.1} s. {}\n   {regained}",
        lost.heir,
        lost.taken_over.as_secs_f64(),
        match scene.sent.again.get() {
            0 => "The producer noticed nothing.".to_owned(),
            again => format!(
                "Of {} requests the\n   producer had to send {again} again, which is safe: a record's id is taken once.",
                count(scene.sent.requests.get()),
            ),
        },
    ))?;
    scene.say(if right {
        "   Every database has every record exactly once, in order: nothing lost, nothing twice."
    } else {
        "   The check FAILED: see the marked lines above."
    })?;
    Ok(right)
}

/// What came of a node's death.
struct Lost {
    node: usize,
    heir: &'static str,
    taken_over: Duration,
}

/// Kills the node that writes the busiest database, and waits until the other one writes all that it wrote.
async fn node_is_killed(scene: &mut Scene<'_>) -> anyhow::Result<Lost> {
    let busiest = (0..scene.rows.len()).filter(|n| !scene.rows[*n].is_away()).max_by_key(|n| scene.rows[*n].rows);
    let busiest = busiest.context("no database is up")?;
    let (database, rows) = (scene.databases[busiest].name, scene.rows[busiest].rows);
    let owner = scene.rows[busiest].owner;
    let Some(node) = scene.stage.nodes.iter().position(|node| Some(node.name) == owner) else {
        bail!("no node writes {database}");
    };
    let (name, heir) = (scene.stage.nodes[node].name, scene.stage.nodes[1 - node].name);
    let before = scene.owners();
    scene.say(&format!(
        "4. kill -9 {name}: it writes {database}, the busiest database ({} rows so far). {heir} takes over what it wrote.",
        count(rows)
    ))?;
    let owned: Vec<usize> = (0..scene.rows.len()).filter(|n| scene.rows[*n].owner == owner).collect();
    scene.stage.kill_node(node)?;
    let killed = Instant::now();
    // Only what the other one writes counts.
    scene.look().await;
    let had: Vec<u64> = scene.rows.iter().map(|row| row.written).collect();
    // Taken over: the other node says so, and has written in each that is there.
    let goes_on = |row: &Row, had: u64| row.owner == Some(heir) && (row.is_away() || row.written > had);
    scene.until(|scene| owned.iter().all(|n| goes_on(&scene.rows[*n], had[*n]))).await?;
    let taken_over = killed.elapsed();
    scene.snapshot()?;
    scene.say(&format!(
        "   before:  {before}\n   after:   {}\n            taken over and written on {:.1} s after the kill\n",
        scene.owners(),
        taken_over.as_secs_f64(),
    ))?;
    Ok(Lost { node, heir, taken_over })
}

/// Starts the node again, and waits until it has its share; what came of it.
async fn node_comes_back(scene: &mut Scene<'_>, node: usize) -> anyhow::Result<String> {
    let name = scene.stage.nodes[node].name;
    scene.say(&format!("6. {name} is started again, and is given its share back, between two batches."))?;
    let started = Instant::now();
    scene.stage.start_node(node).await?;
    let shared = scene.shared_out().await?;
    let owners = scene.owners();
    if !shared {
        scene.say(&format!("   {owners}; {name} stands by."))?;
        return Ok(format!("Started again, {name} stands by."));
    }
    let after = started.elapsed().as_secs_f64();
    scene.say(&format!("   {owners}   ({after:.1} s later)"))?;
    Ok(format!("Started again, {name} had its share back after {after:.1} s."))
}

impl Scene<'_> {
    /// Waits until every database has a node, and every running node a database; whether the latter came true in time.
    async fn shared_out(&mut self) -> anyhow::Result<bool> {
        let start = Instant::now();
        let shared = |scene: &Self| {
            let writes = |name| scene.rows.iter().any(|row| row.owner == Some(name));
            scene.stage.nodes.iter().filter(|node| node.is_running()).all(|node| writes(node.name))
        };
        self.until(|scene| {
            let taken = scene.rows.iter().all(|row| row.owner.is_some());
            taken && (shared(scene) || start.elapsed() > SHARED_WITHIN)
        })
        .await?;
        Ok(shared(self))
    }
}

fn is_taken_away(database: &Database) -> bool {
    database.name == "workshop" || database.kind == "postgres"
}
