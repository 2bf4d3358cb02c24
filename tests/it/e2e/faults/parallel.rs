//! Nodes of a parallel destination that die around a commit: what was not acknowledged is written once more, as the same
//! rows.

use std::{os::unix::process::ExitStatusExt as _, time::Duration};

use tidegate_actors::failpoint;

use super::{Installation, Node, PATIENCE, Target};
use crate::{
    e2e::{
        parallel::{both_write, complete, id_of, in_hand, manifest},
        wait_until_sent,
    },
    servers::{postgres::PostgresServer, wait_for},
};

/// The rows, and how often each was written over.
const TABLE: &str = "create table seen (id bigint not null, version bigint not null, stock int, \
                     again int not null default 0, primary key (id, version));
    create function count_writes() returns trigger as $$ begin new.again := old.again + 1; return new; end $$ language plpgsql;
    create trigger count_writes before update on seen for each row execute function count_writes()";

async fn dies_at(node: &mut Node, place: &str) {
    let what = format!("node {} dies at {place}", node.name);
    let status = wait_for(&what, PATIENCE, async || node.ended()).await;
    assert_eq!(status.signal(), Some(6), "of nothing else: {status}");
    node.environment.remove("FAILPOINTS");
}

/// Rows that were written over, and how often in all.
async fn written_again(target: &Target) -> (i64, i64) {
    let sql = "select count(*), coalesce(sum(again), 0)::bigint from seen where again > 0";
    target.pairs(sql).await.map_or((0, 0), |pairs| pairs[0])
}

#[actix_web::test]
async fn nodes_killed_around_a_commit_leave_rows_that_are_written_again_and_none_that_are_missing() {
    let installation = Installation::new().await;
    let postgres = PostgresServer::shared().await;
    let target = Target { name: "pg".into(), kind: "postgres", url: postgres.url(&postgres.database().await) };
    target.execute(TABLE).await;
    installation.apply(&manifest(std::slice::from_ref(&target)));
    let key = installation.run(&["key", "create", "car-app"]).trim().to_owned();
    let (mut a, mut b) = (installation.new_node("a"), installation.new_node("b"));
    // It has written something by then.
    a.environment.insert("FAILPOINTS", format!("{}=20*off->1*return", failpoint::AFTER_COMMIT));
    a.start(&installation);
    b.start(&installation);
    b.ready().await;
    let producers = b.load(&key).start();
    both_write([&a, &b], std::slice::from_ref(&target)).await;
    dies_at(&mut a, failpoint::AFTER_COMMIT).await;

    // Committed and not acknowledged: the other node does it once more.
    let group = id_of(&installation, "pg").await;
    let left = in_hand(&installation, &group, "a").await;
    assert!(left > 0, "it left nothing: this test shows nothing");
    assert_eq!(written_again(&target).await, (0, 0));
    wait_for("the other node claims it", PATIENCE, async || {
        (in_hand(&installation, &group, "a").await == 0).then_some(())
    })
    .await;
    wait_for("and writes it over", Duration::from_secs(20), async || {
        let left = i64::try_from(left).unwrap();
        (written_again(&target).await == (left, left)).then_some(())
    })
    .await;

    // A node that comes back goes on with what it left itself, wherever it died.
    for place in [failpoint::AFTER_COMMIT, failpoint::BEFORE_TRANSACTION, failpoint::AFTER_ADVANCE] {
        a.environment.insert("FAILPOINTS", format!("{place}=5*off->1*return"));
        a.start(&installation);
        dies_at(&mut a, place).await;
        let left = in_hand(&installation, &group, "a").await;
        assert_eq!(left == 0, place == failpoint::AFTER_ADVANCE, "{left} in hand at {place}");
        a.start(&installation);
        a.ready().await;
        let sent = producers.sent();
        wait_until_sent(&producers, sent + 100).await;
        a.terminate().await;
        assert_eq!(in_hand(&installation, &group, "a").await, 0, "it has done with what it left");
    }
    let acknowledged = producers.stop().await;
    complete(&target, &acknowledged).await;
    assert_eq!(b.destination("pg").await["dead_letters_made"], 0);
}
