//! The watermark, its owner and its epoch: who may write, and that nothing is written twice.

use tidegate_actors::message::StreamId;

use super::{
    Database,
    writer::{DESTINATION, INSTALLATION, Writer, generation, lane},
};

pub(crate) async fn a_take_over_of_an_empty_database_makes_the_tables(database: &dyn Database) {
    let mut destination = database.open();
    let found = destination.take_over(INSTALLATION, DESTINATION, "one").await.unwrap();
    assert!(found.rows.is_empty() && found.dead.is_empty());
    assert!(!found.bind.is_empty());

    let mut another = database.open();
    let again = another.take_over(INSTALLATION, DESTINATION, "two").await.unwrap();
    assert_eq!(again.bind, found.bind, "the bind token stays");

    let mut writer = Writer::take(database, "three").await;
    let row = writer.destination.watermark(&lane("app"), &generation()).await.unwrap().unwrap();
    assert_eq!((row.owner.as_str(), row.last_id), ("three", StreamId::ZERO));
}
