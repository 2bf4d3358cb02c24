//! Dead letters in the transaction that passes them, and the tables that keep them.

use tidegate_actors::{
    message::StreamId,
    ports::WriteError,
    transaction::{DeadId, DeadRow, Op, Supersede},
};

use super::{Writer, generation, lane, statement};

fn dead(seq: u64) -> DeadId {
    DeadId { generation: generation(), id: StreamId::new(1, seq), route: "route".into() }
}

fn buried(seq: u64, key: Option<&str>) -> DeadRow {
    DeadRow { dead: dead(seq), table: "public.t".into(), key: key.map(Into::into), superseded_by: None }
}

#[tokio::test]
async fn dead_letters_are_buried_superseded_once_and_taken_back_once() {
    let mut writer = Writer::with("CREATE TABLE t (id int PRIMARY KEY)").await;
    let plan = writer.plan("t", &["id"]).await;

    let mut passing = writer.transaction(Vec::new());
    passing.bury = vec![buried(1, Some("7")), buried(2, None), buried(3, Some("8"))];
    writer.destination.commit(&passing).await.unwrap();
    writer.at = passing.fence.new;

    for by in [5, 6] {
        let mut later = writer.transaction(vec![statement(&plan, Op::Upsert, &["id"], &[&["7"]])]);
        later.supersede = vec![Supersede { table: "public.t".into(), key: "7".into(), by: StreamId::new(1, by) }];
        writer.destination.commit(&later).await.unwrap();
        writer.at = later.fence.new;
    }

    let mut redrive = writer.transaction(vec![statement(&plan, Op::Insert, &["id"], &[&["8"]])]);
    redrive.fence.new = writer.at;
    redrive.exhume = Some(dead(3));
    assert!(writer.destination.commit(&redrive).await.unwrap().exhumed);
    redrive.statements = vec![statement(&plan, Op::Insert, &["id"], &[&["9"]])];
    assert!(!writer.destination.commit(&redrive).await.unwrap().exhumed, "it is gone already");
    assert_eq!(writer.text("SELECT string_agg(id::text, ' ' ORDER BY id) FROM t").await.unwrap(), "7 8");

    let mut found = writer.destination.take_over("inst00000001", "dest00000001", "next").await.unwrap().dead;
    found.sort_by_key(|(_, row)| row.dead.id);
    let superseded = DeadRow { superseded_by: Some(StreamId::new(1, 5)), ..buried(1, Some("7")) };
    assert_eq!(found, [(lane("app").to_string(), superseded), (lane("app").to_string(), buried(2, None))]);
}

#[tokio::test]
async fn a_refused_batch_moves_nothing_and_buries_nothing() {
    let mut writer = Writer::with("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (2)").await;
    let plan = writer.plan("t", &["id"]).await;
    let first = statement(&plan, Op::Insert, &["id"], &[&["1"]]);
    let mut transaction = writer.transaction(vec![first, statement(&plan, Op::Insert, &["id"], &[&["2"], &["3"]])]);
    transaction.bury = vec![buried(9, None)];
    let refused = writer.destination.commit(&transaction).await;
    assert!(matches!(&refused, Err(WriteError::Reject(rejection)) if rejection.statement == Some(1)), "{refused:?}");
    assert_eq!(writer.text("SELECT string_agg(id::text, ' ') FROM t").await.unwrap(), "2");
    let row = writer.destination.watermark(&lane("app"), &generation()).await.unwrap().unwrap();
    assert_eq!((row.last_id, row.epoch), (StreamId::ZERO, 1));
    assert_eq!(writer.text("SELECT count(*)::text FROM tidegate_dead").await.unwrap(), "0");
}

#[tokio::test]
async fn own_tables_that_are_gone_or_changed_hold_with_words() {
    let mut writer = Writer::with("CREATE TABLE t (id int PRIMARY KEY)").await;
    writer.sql("ALTER TABLE tidegate_watermark RENAME TO elsewhere").await;
    let transaction = writer.transaction(Vec::new());
    let held = writer.destination.commit(&transaction).await;
    assert!(matches!(&held, Err(WriteError::Hold(fault)) if fault.message.contains("tidegate_watermark")), "{held:?}");
    writer.sql("ALTER TABLE elsewhere RENAME TO tidegate_watermark; UPDATE tidegate_watermark SET last_id = 'x'").await;
    let held = writer.destination.watermark(&lane("app"), &generation()).await;
    assert!(matches!(&held, Err(WriteError::Hold(fault)) if fault.message.contains("last_id")), "{held:?}");
}
