//! The order of a key's changes, under random batches: what the destination's journal says was written, was written in
//! the order of the log. In memory alone, for only there is a journal.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;
use tidegate_actors::{
    message::Action,
    testing::{MemoryDatabase, MemoryTable},
    transaction::Cell,
};

use super::scene::{Scene, route};
use crate::contract::memory::InMemory;

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_keys_changes_are_written_in_the_order_of_the_log(
        messages in proptest::collection::vec((0..4_usize, 0..6_u8, 0..2_usize), 1..120), most in 1..60_usize,
    ) {
        let database = MemoryDatabase::new();
        database.add_table(MemoryTable::of_text("cars", &["id"], &["id", "seq", "other"]));
        let subject = InMemory::over(&database);
        let mut first = route("cars", "cars", &["id"]);
        first.columns = serde_json::from_value(json!({"id": "id", "seq": "seq"})).unwrap();
        let mut second = route("bikes", "cars", &["id"]);
        second.columns = serde_json::from_value(json!({"id": "id", "seq": "seq", "other": "seq"})).unwrap();
        let mut scene = Scene::new(&subject, vec![first, second]);
        let mut expected: BTreeMap<String, Option<String>> = BTreeMap::new();
        for (seq, (action, key, topic)) in messages.iter().enumerate() {
            let (key, seq) = (key.to_string(), format!("{seq:04}"));
            let action = Action::ALL[*action];
            scene.send(["cars", "bikes"][*topic], action, &json!({"id": key, "seq": seq}));
            let row = expected.entry(key).or_default();
            match (action, row.is_some()) {
                (Action::Insert, true) | (Action::Update, false) => {}
                (Action::Delete, _) => *row = None,
                _ => *row = Some(seq),
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(scene.drain_by(most)).unwrap();

        let rows: BTreeMap<_, _> = database.texts("cars").into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
        let expected: BTreeMap<_, _> =
            expected.into_iter().filter(|(_, seq)| seq.is_some()).map(|(key, seq)| (Some(key), seq)).collect();
        prop_assert_eq!(rows, expected);
        // Each write of a key carries the number of its last message; they never go back.
        let mut last: BTreeMap<String, String> = BTreeMap::new();
        for statement in database.journal().iter().flat_map(|entry| &entry.transaction.statements) {
            for row in &statement.rows {
                let text = |name: &str| {
                    let place = statement.written().position(|column| column.name == name)?;
                    match &row[place] {
                        Cell::Text(text) => Some(text.to_string()),
                        _ => None,
                    }
                };
                let (Some(key), Some(seq)) = (text("id"), text("seq")) else { continue };
                let before = last.insert(key, seq.clone());
                prop_assert!(before.is_none_or(|before| before < seq));
            }
        }
    }
}
