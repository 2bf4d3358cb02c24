use proptest::prelude::*;

use super::*;
use crate::cast::tests::properties::any_json;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn mapping_never_panics_and_is_deterministic(
        values in proptest::collection::vec(proptest::option::of(any_json()), 24),
        key in proptest::option::of(any_json()),
        action in proptest::sample::select(&Action::ALL[..]),
    ) {
        let columns: Vec<_> =
            every_kind().into_iter().enumerate().map(|(place, kind)| column(&format!("c{place}"), kind)).collect();
        let names: Vec<_> = columns.iter().map(|column| column.name.clone()).collect();
        for name in &names {
            let table = TableSchema { columns: columns.clone(), unique_keys: vec![vec![name.clone()]], ..cars() };
            let mapping = Mapping::compile(&route(json!({"key": [name]})), table, vec![]).unwrap();
            let members: Vec<_> = values
                .iter()
                .zip(&names)
                .filter_map(|(value, name)| Some(format!("\"{name}\":{}", value.as_ref()?)))
                .collect();
            let message = message(action, key.as_deref(), &format!("{{{}}}", members.join(",")));
            let first = mapped(&mapping, &message);
            prop_assert_eq!(&first, &mapped(&mapping, &message));
            if let Ok(row) = first {
                prop_assert!(mapping.sent(&row).get() != "null");
            }
        }
    }

    #[test]
    fn no_text_at_all_panics(data in "\\PC{0,40}", key in "\\PC{0,20}") {
        let mapping = compiled(json!({}));
        let _ = mapped(&mapping, &message(Action::Upsert, Some(&key), &data));
        let _ = key_conflict(&route(json!({})), &data, &key);
    }

    #[test]
    fn each_value_alone_is_sent_as_json_that_maps_to_the_same_row(raw in any_json()) {
        for kind in every_kind() {
            let table = TableSchema { columns: vec![column("id", kind.clone())], ..cars() };
            let mapping = Mapping::compile(&route(json!({"key": []})), table, vec![]).unwrap();
            let Ok(row) = upsert(&mapping, &format!("{{\"id\":{raw}}}")) else { continue };
            let sent = mapping.sent(&row);
            prop_assert!(sent.get() != "null", "{kind:?}");
            let again = upsert(&mapping, sent.get());
            prop_assert_eq!(again.as_ref(), Ok(&row), "{:?} {}", kind, sent);
        }
    }
}
