//! What a request says, and what becomes of each answer.

use std::time::Duration;

use tidegate_actors::{
    message::StreamId,
    ports::WriteError,
    schema::ColumnType,
    transaction::{Cell, Committed, DeadId, Op},
};

use super::{
    Deed, Of, PASSWORD, answer, generation, lane, open, settings, statement, text, transaction,
    wire::{Wire, error, set},
    world, written,
};
use mssql_mock_tds::query_response::{QueryResponse, TerminalError};

/// What the batch tells before it throws.
fn place(step: &str, place: &str, item: &str) -> QueryResponse {
    set(&[("step", Of::Int), ("place", Of::Int), ("item", Of::Int)], &[&[step, place, item]])
}

#[tokio::test]
async fn a_transaction_is_one_request_with_its_rows_in_parameters() {
    let (wire, mut destination, plan) = world().await;
    let upsert = statement(&plan, Op::Upsert, &[["1", "B 1"], ["2", "it's ☃"]]);
    let committed = destination.commit(&transaction(vec![upsert])).await.unwrap();
    assert_eq!(committed, Committed { untouched: Vec::new(), exhumed: true });
    let [request] = wire.heard("TIDEGATE WRITE").try_into().unwrap();
    assert_eq!(request.kind, 3, "a call with parameters");
    for said in [
        "BEGIN TRANSACTION;",
        "COMMIT TRANSACTION;",
        "UPDATE tidegate_watermark SET last_id = @P5",
        "inst/dest/app/main",
        "[[[0,\"1\",\"B 1\"],[1,\"2\",\"it's ☃\"]]]",
        "@P6 nvarchar(4000)",
    ] {
        assert!(request.says(said), "{said}");
    }
    assert!(!request.says("'it''s ☃'"));
    // One connection for all of it, set up once.
    assert_eq!(wire.connections(), 1);
    let [set_up] = wire.heard("SET XACT_ABORT ON; SET").try_into().unwrap();
    assert!(set_up.says("SET LOCK_TIMEOUT 200;") && set_up.says("SET LANGUAGE us_english;"));
}

#[tokio::test]
async fn a_batch_of_many_packets_arrives_whole() {
    let (wire, mut destination, plan) = world().await;
    let rows: Vec<Vec<Cell>> = (0..5_000).map(|id| vec![text(&id.to_string()), text(&format!("plate {id}"))]).collect();
    let mut insert = statement(&plan, Op::Insert, &[["0", "0"]]);
    insert.rows = rows;
    destination.write(&[insert]).await.unwrap();
    let [request] = wire.heard("TIDEGATE WRITE ROWS").try_into().unwrap();
    assert!(request.says("[[[0,\"0\",\"plate 0\"]") && request.says("[4999,\"4999\",\"plate 4999\"]]]"));
    assert!(request.says("@P1 nvarchar(max)"));
}

#[tokio::test]
async fn untouched_rows_are_told_by_their_place() {
    let (wire, mut destination, plan) = world().await;
    wire.once("TIDEGATE WRITE", Deed::Answer(written(&[["0", "1"], ["1", "0"]])));
    let delete = statement(&plan, Op::Delete, &[["1", "x"]]);
    let committed = destination.commit(&transaction(vec![delete.clone(), delete])).await.unwrap();
    assert_eq!(committed.untouched, [(0, 1), (1, 0)]);
}

#[tokio::test]
async fn a_result_set_of_a_trigger_is_not_taken_for_the_answer() {
    let (wire, mut destination, plan) = world().await;
    let noise = set(&[("whatever", Of::Text)], &[&["a trigger's"]]);
    let ours = set(&[("step", Of::Int), ("place", Of::Int)], &[&["0", "0"]]);
    wire.once("TIDEGATE WRITE", Deed::Answer(answer(&[noise.clone(), ours], None)));
    let update = statement(&plan, Op::Update, &[["1", "x"]]);
    let committed = destination.commit(&transaction(vec![update.clone()])).await.unwrap();
    assert_eq!(committed.untouched, [(0, 0)]);
    // And alone it is no sign of a commit.
    wire.once("TIDEGATE WRITE", Deed::Answer(answer(&[noise], None)));
    assert!(matches!(destination.commit(&transaction(vec![update])).await, Err(WriteError::Retry(_))));
}

#[tokio::test]
async fn our_own_errors_are_told_apart() {
    let (wire, mut destination, plan) = world().await;
    let thrown =
        |number, at: QueryResponse| Deed::Answer(answer(&[at], Some(TerminalError::new(number, 16, "tidegate: …"))));
    let update = || vec![statement(&plan, Op::Update, &[["1", "x"], ["2", "y"]])];

    wire.once("TIDEGATE WRITE", thrown(1_749_320_001, place("-1", "∅", "∅")));
    assert_eq!(destination.commit(&transaction(update())).await, Err(WriteError::Fenced));

    let mut redrive = transaction(update());
    redrive.exhume = Some(DeadId { generation: generation(), id: StreamId::new(1, 0), route: "r".into() });
    wire.once("TIDEGATE WRITE", thrown(1_749_320_002, place("-1", "∅", "∅")));
    assert_eq!(destination.commit(&redrive).await, Ok(Committed { untouched: Vec::new(), exhumed: false }));

    wire.once("TIDEGATE WRITE", thrown(1_749_320_005, place("0", "1", "∅")));
    let Err(WriteError::Reject(missing)) = destination.commit(&transaction(update())).await else {
        panic!("not refused")
    };
    assert_eq!((missing.code.as_str(), missing.statement, missing.row), ("missing_row", Some(0), Some(1)));

    wire.once("TIDEGATE WRITE", thrown(1_749_320_004, place("0", "0", "1")));
    let Err(WriteError::Reject(bad)) = destination.commit(&transaction(update())).await else { panic!("not refused") };
    assert_eq!((bad.code.as_str(), bad.row, bad.column.as_deref()), ("type", Some(0), Some("plate")));
    assert_eq!(wire.connections(), 1, "none of it costs the connection");
}

#[tokio::test]
async fn a_bad_row_is_refused_and_the_next_goes_on() {
    let (wire, mut destination, plan) = world().await;
    let insert = || vec![statement(&plan, Op::Insert, &[["1", "B 1"], ["2", "B 2"]])];
    for (number, words, code, row) in [
        (
            2627,
            "Violation of PRIMARY KEY constraint 'PK_cars'. Cannot insert duplicate key in object 'dbo.cars'. The duplicate key \
             value is (2).",
            "unique",
            Some(1),
        ),
        (
            547,
            "The INSERT statement conflicted with the FOREIGN KEY constraint \"FK_cars\". The conflict occurred in database \
             \"shop\", table \"dbo.rooms\", column 'id'.",
            "foreign_key",
            None,
        ),
    ] {
        let at = place("0", "∅", "∅");
        wire.once("TIDEGATE WRITE", Deed::Answer(answer(&[at], Some(TerminalError::new(number, 14, words)))));
        let Err(WriteError::Reject(bad)) = destination.commit(&transaction(insert())).await else {
            panic!("not refused")
        };
        assert_eq!((bad.code.as_str(), bad.statement, bad.row), (code, Some(0), row));
        // Nothing may stay open on the server, whatever ended the batch.
        assert!(!wire.heard("IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION;").is_empty());
        destination.commit(&transaction(insert())).await.unwrap();
    }
    assert_eq!(wire.connections(), 1);
}

#[tokio::test]
async fn a_missing_table_or_column_is_held_and_looked_at_anew() {
    let (wire, mut destination, plan) = world().await;
    let insert = || vec![statement(&plan, Op::Insert, &[["1", "B 1"]])];
    for (number, words) in [(208, "Invalid object name 'dbo.cars'."), (207, "Invalid column name 'plate'.")] {
        let looked = wire.heard("TIDEGATE TABLE */").len();
        wire.once("TIDEGATE WRITE", Deed::Answer(error(number, 16, words)));
        let Err(WriteError::Hold(fault)) = destination.commit(&transaction(insert())).await else { panic!("not held") };
        assert!(fault.message.contains(words), "{}", fault.message);
        destination.commit(&transaction(insert())).await.unwrap();
        assert_eq!(wire.heard("TIDEGATE TABLE */").len(), looked + 1);
    }
}

#[tokio::test]
async fn the_environment_is_retried_on_the_same_connection() {
    let (wire, mut destination, plan) = world().await;
    for (number, severity) in [(1205, 13), (1222, 16), (9002, 17), (3906, 16)] {
        wire.once("TIDEGATE WRITE", Deed::Answer(error(number, severity, "words")));
        let failed = destination.commit(&transaction(vec![statement(&plan, Op::Insert, &[["1", "x"]])])).await;
        assert!(!super::retried(failed.unwrap_err()).0, "{number}");
    }
    assert_eq!(wire.connections(), 1);
    wire.once("TIDEGATE WRITE", Deed::Answer(error(40_613, 17, "Database 'shop' is not currently available.")));
    let failed = destination.commit(&transaction(Vec::new())).await;
    assert!(super::retried(failed.unwrap_err()).0);
    destination.commit(&transaction(Vec::new())).await.unwrap();
    assert_eq!(wire.connections(), 2);
}

/// The mock itself answers here, and slowly.
#[tokio::test]
async fn a_slow_answer_is_waited_for() {
    let wire = Wire::start();
    let slow = set(&[("updateability", Of::Text)], &[&["READ_WRITE"]]).with_delay(Duration::from_millis(300));
    wire.registry.lock().await.register("/* TIDEGATE PROBE */", slow);
    open(settings(wire.port)).probe().await.unwrap();
    wire.registry.lock().await.register("/* TIDEGATE PROBE */", set(&[("updateability", Of::Text)], &[&["READ_ONLY"]]));
    let (lost, words) = super::retried(open(settings(wire.port)).probe().await.unwrap_err());
    assert!(!lost && words.contains("takes no writes"), "{words}");
}

#[tokio::test]
async fn a_take_over_reads_rows_dead_letters_and_the_token() {
    let wire = Wire::start();
    let row = ["inst/dest/app/main", "gen", "7", "me", "1-9"];
    let rows = set(
        &[
            ("lane", Of::Text),
            ("generation", Of::Text),
            ("epoch", Of::BigInt),
            ("owner", Of::Text),
            ("last_id", Of::Text),
        ],
        &[&row],
    );
    let letters: Vec<(&str, Of)> = ["lane", "generation", "id", "route", "table_name", "record_key", "superseded_by"]
        .map(|name| (name, Of::Text))
        .to_vec();
    let dead = set(
        &letters,
        &[
            &["inst/dest/app/main", "gen", "1-2", "r", "cars", "7", "∅"],
            &["inst/dest/app/main", "gen", "1-3", "r", "cars", "∅", "1-8"],
        ],
    );
    let token = set(&[("token", Of::Text)], &[&["bindtoken"]]);
    wire.once("TIDEGATE TAKE OVER", Deed::Answer(answer(&[token, rows.clone(), dead], None)));
    let mut destination = open(settings(wire.port));
    let found = destination.take_over("inst", "dest", "me").await.unwrap();
    assert_eq!(found.bind, "bindtoken");
    assert_eq!(
        (found.rows[0].epoch, found.rows[0].last_id, found.rows[0].owner.as_str()),
        (7, StreamId::new(1, 9), "me")
    );
    assert_eq!(found.dead.len(), 2);
    assert_eq!(found.dead[0].1.key.as_deref(), Some("7"));
    assert_eq!((&found.dead[1].1.key, found.dead[1].1.superseded_by), (&None, Some(StreamId::new(1, 8))));

    wire.once("TIDEGATE BEGIN LANE", Deed::Answer(error(1_749_320_001, 16, "tidegate: another owner")));
    let begun = destination.begin_lane(&lane(), &generation(), "me", StreamId::ZERO).await;
    assert_eq!(begun, Err(WriteError::Fenced));
    wire.once("TIDEGATE BEGIN LANE", Deed::Answer(answer(&[set(&[("epoch", Of::BigInt)], &[&["∅"]])], None)));
    destination.begin_lane(&lane(), &generation(), "me", StreamId::ZERO).await.unwrap();

    wire.once("TIDEGATE WATERMARK", Deed::Answer(answer(&[rows], None)));
    let at = destination.watermark(&lane(), &generation()).await.unwrap().unwrap();
    assert_eq!(at.last_id, StreamId::new(1, 9));
    assert!(wire.heard("TIDEGATE WATERMARK")[0].says("WITH (UPDLOCK)"));
}

#[tokio::test]
async fn a_table_is_described_and_a_missing_one_is_named_with_the_nearest() {
    let (wire, mut destination, plan) = world().await;
    let table = &plan.table;
    assert_eq!((table.schema.as_str(), table.name.as_str()), ("dbo", "cars"));
    assert_eq!(table.unique_keys, [["id"]]);
    assert_eq!(table.columns[1].kind, ColumnType::Text { max_chars: Some(20), max_bytes: None, nul: false });
    assert_eq!((table.columns[1].declared.as_str(), table.columns[1].nullable), ("nvarchar(20)", true));
    assert_eq!((table.columns[2].has_default, table.columns[2].default.as_deref()), (true, Some("((0))")));

    let nothing =
        answer(&[set(&[("", Of::Text)], &[]), set(&[("", Of::Text)], &[]), set(&[("", Of::Text)], &[])], None);
    wire.always("TIDEGATE TABLE */", Deed::Answer(nothing));
    let names = [("", Of::Text), ("", Of::Text), ("", Of::Int)];
    let there = set(&names, &[&["dbo", "cars", "1"], &["stock", "cars", "0"], &["dbo", "tidegate_dead", "1"]]);
    wire.always("TIDEGATE TABLES", Deed::Answer(answer(&[there], None)));
    let Err(WriteError::Hold(fault)) = destination.table("crs").await else { panic!("found") };
    assert!(fault.message.contains("`crs`") && fault.message.contains("`cars`"), "{}", fault.message);
    let tables = destination.tables().await.unwrap();
    let names: Vec<_> = tables.iter().map(|table| (table.schema.as_str(), table.default_schema)).collect();
    assert_eq!(names, [("dbo", true), ("stock", false)], "ours are left out");
}

#[tokio::test]
async fn an_index_that_drops_duplicates_in_silence_is_refused() {
    let wire = Wire::start();
    let object = set(&[("", Of::Text), ("", Of::Text), ("", Of::Text)], &[&["dbo", "cars", "U"]]);
    let keys = set(&[("", Of::Int), ("", Of::Text), ("", Of::Int), ("", Of::Text)], &[&["1", "id", "1", "PK_cars"]]);
    wire.always("TIDEGATE TABLE */", Deed::Answer(answer(&[object, set(&[("", Of::Text)], &[]), keys], None)));
    let Err(WriteError::Hold(fault)) = open(settings(wire.port)).table("cars").await else { panic!("described") };
    assert!(fault.message.contains("PK_cars") && fault.message.contains("IGNORE_DUP_KEY"), "{}", fault.message);
}

#[tokio::test]
async fn what_an_operator_asked_for_is_carried_out_in_order() {
    let (wire, mut destination, _) = world().await;
    let statements =
        ["CREATE TABLE dbo.rooms (id int)".to_owned(), "ALTER TABLE dbo.rooms ADD name nvarchar(20)".to_owned()];
    destination.define(&statements).await.unwrap();
    assert_eq!(wire.heard("dbo.rooms").len(), 2);
    wire.once("CREATE TABLE", Deed::Answer(error(262, 14, "CREATE TABLE permission denied in database 'shop'.")));
    let Err(WriteError::Hold(fault)) = destination.define(&statements).await else { panic!("carried out") };
    assert!(fault.message.contains("grant the right") && !fault.message.contains(PASSWORD), "{}", fault.message);
    assert_eq!(wire.heard("ALTER TABLE dbo.rooms").len(), 1, "the first that fails ends it");
}
