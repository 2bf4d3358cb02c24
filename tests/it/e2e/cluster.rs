//! Several nodes on one Redis: who writes what when nodes come, go and die, and what each shows of the others.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use super::{
    installation::{self, Installation, Node, settle},
    ledger::Target,
    wait_until_sent,
};
use crate::servers::wait_for;

/// Destination → the node that says it holds its lease, over all nodes that answer.
async fn owners(nodes: &[&Node]) -> BTreeMap<String, Vec<String>> {
    let mut owners: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for node in nodes {
        let Some((200, body)) = installation::get(&format!("http://127.0.0.1:{}/health/actors", node.admin)).await
        else {
            continue;
        };
        let body: Value = serde_json::from_str(&body).unwrap();
        for actor in body["actors"].as_array().unwrap() {
            if actor["kind"] == "destination" && actor["detail"]["leased"] == true && actor["detail"]["status"] == "up"
            {
                let name = actor["name"].as_str().unwrap().to_owned();
                owners.entry(name).or_default().push(body["node"].as_str().unwrap().to_owned());
            }
        }
    }
    owners
}

/// Waits until every destination has one owner, and each of the nodes has so many.
async fn spread(nodes: &[&Node], destinations: usize, shares: &[usize]) -> BTreeMap<String, Vec<String>> {
    wait_for(&format!("{destinations} destinations on {shares:?}"), Duration::from_secs(30), async || {
        let owners = owners(nodes).await;
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for owner in owners.values().flatten() {
            *counts.entry(owner).or_default() += 1;
        }
        let mut counts: Vec<_> = counts.into_values().collect();
        counts.sort_unstable();
        let one_each = owners.len() == destinations && owners.values().all(|owners| owners.len() == 1);
        (one_each && counts == shares).then_some(owners)
    })
    .await
}

async fn targets(installation: &Installation, count: usize) -> Vec<Target> {
    let mut targets = Vec::new();
    for number in 0..count {
        targets.push(installation.sqlite(&format!("shop-{number}")).await);
    }
    targets
}

#[actix_web::test]
async fn destinations_are_spread_over_the_nodes_that_come_go_and_die() {
    let installation = Installation::new().await;
    let targets = targets(&installation, 5).await;
    let key = installation.register(&targets);
    let mut a = installation.node("a");
    a.ready().await;
    let producers = a.load(&key).start();
    spread(&[&a], 5, &[5]).await;
    // Joins: gets its share, and nothing else moves.
    let mut b = installation.node("b");
    b.ready().await;
    let two = spread(&[&a, &b], 5, &[2, 3]).await;
    let mut c = installation.node("c");
    c.ready().await;
    let three = spread(&[&a, &b, &c], 5, &[1, 2, 2]).await;
    let moved = three.iter().filter(|(name, owner)| two[*name] != **owner).count();
    assert_eq!(moved, three.values().flatten().filter(|owner| *owner == "c").count(), "{two:?} {three:?}");
    wait_until_sent(&producers, producers.sent() + 200).await;
    // Dies.
    b.kill();
    let after = spread(&[&a, &c], 5, &[2, 3]).await;
    wait_until_sent(&producers, producers.sent() + 200).await;
    // Stops in good order: it has nothing any more while it still drains.
    let (status, _) = c.terminate().await;
    assert!(status.success(), "{status}");
    let held = after.values().flatten().filter(|owner| *owner == "c").count();
    assert_eq!(c.logged().matches("handed over").count(), held, "{after:?}");
    spread(&[&a], 5, &[5]).await;
    // Comes back.
    b.start(&installation);
    b.ready().await;
    spread(&[&a, &b], 5, &[2, 3]).await;
    let acknowledged = producers.stop().await;
    settle(&targets, &acknowledged).await;
    a.kill();
}

#[actix_web::test]
async fn every_node_and_the_status_command_show_all_nodes() {
    let installation = Installation::new().await;
    let targets = targets(&installation, 3).await;
    installation.register(&targets);
    // One after the other: where both begin at once, who holds what first isn't yet who is to have it, even where it is evenly spread.
    let a = installation.node("a");
    spread(&[&a], 3, &[3]).await;
    let b = installation.node("b");
    let owners = spread(&[&a, &b], 3, &[1, 2]).await;
    for (asked, other) in [(&a, "b"), (&b, "a")] {
        wait_for("it shows the other's actors", Duration::from_secs(15), async || {
            let url = format!("http://127.0.0.1:{}/health/actors?scope=cluster", asked.admin);
            let (_, body) = installation::get(&url).await?;
            let body: Value = serde_json::from_str(&body).ok()?;
            let there = body["nodes"].as_array()?.iter().find(|node| node["node"] == other)?;
            let mine = there["actors"].as_array()?.iter().filter(|actor| {
                let name = actor["name"].as_str().unwrap_or_default();
                actor["kind"] == "destination" && actor["detail"]["owner"] == other && owners[name] == [other]
            });
            (mine.count() == owners.values().flatten().filter(|owner| *owner == other).count()).then_some(())
        })
        .await;
    }
    wait_for("status shows who writes what", Duration::from_secs(15), async || {
        let lines = installation.run(&["status", "--json"]);
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let nodes: Vec<_> = lines.iter().filter(|line| line["type"] == "node").collect();
        let right =
            |line: &&Value| owners[line["name"].as_str().unwrap()][0] == line["owner"] && line["epoch"].is_u64();
        let destinations = lines.iter().filter(|line| line["type"] == "destination");
        (nodes.len() == 2 && destinations.filter(right).count() == 3).then_some(())
    })
    .await;
    let table = installation.run(&["status", "--once"]);
    assert!(table.contains("OWNER") && table.contains("WRITES") && table.contains("shop-0"), "{table}");
}

#[actix_web::test]
async fn a_node_whose_address_is_taken_says_so_and_joins_nobody() {
    let installation = Installation::new().await;
    let targets = targets(&installation, 1).await;
    installation.register(&targets);
    let somebody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (taken, free) = (somebody.local_addr().unwrap().to_string(), "127.0.0.1:0");
    for name in ["listen", "admin", "console"] {
        let mut node = installation.command(&["serve"]);
        for setting in ["listen", "admin", "console"] {
            node.env(format!("TIDEGATE_{}", setting.to_uppercase()), if setting == name { &taken } else { free });
        }
        let output = node.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{said}");
        assert!(said.contains(&format!("setting `{name}`")) && said.contains(&taken), "{said}");
        assert!(!said.contains("panicked") && !said.contains("placed"), "{said}");
    }
    let lines = installation.run(&["status", "--json"]);
    assert!(!lines.contains(r#""type":"node""#), "{lines}");
}
