use super::*;

fn errors(changes: Json, table: TableSchema) -> Vec<String> {
    let errors = Mapping::compile(&route(changes), table, vec![]).unwrap_err();
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn mistakes_are_found_together_with_the_nearest_right_name() {
    let wrong = errors(
        json!({"key": ["ids"], "columns": {"id": "id", "car_nam": "x", "total": "t", "stock": {"default": "many"}}}),
        cars(),
    );
    assert_eq!(
        wrong,
        [
            "route `rooms-cars`: `columns` names `car_nam`, which is no column of table `cars`; did you mean `car_name`?",
            "route `rooms-cars`: column `total` of table `cars` is computed by the database and can't be written: take it out of `columns`",
            "route `rooms-cars`: `key` names `ids`, which is no column of table `cars`; did you mean `id`?",
            "route `rooms-cars`: column `car_name` (varchar(20)) of table `cars` is NOT NULL without a default and the route never fills it, so that no row could be inserted: add `car_name` to `columns`",
            "route `rooms-cars`: the `default` for column `stock` (integer) of table `cars` is a string that is not a whole number",
        ]
    );
    let table: &[(Json, &str)] = &[
        (
            json!({"columns": {"xyz": "x", "car_name": "n"}}),
            "which is no column of table `cars`; it has `id`, `car_name`, `stock`",
        ),
        (
            json!({"columns": {"car_name": "a", "CAR_NAME": "b"}}),
            "`columns` names column `car_name` twice, in two spellings",
        ),
        (json!({"key": ["id", "ID"]}), "`key` names column `id` twice"),
        (
            json!({"key": ["stock", "car_name"]}),
            "key (stock, car_name) is no unique key of table `cars` (it has (id)), so rows could not be told apart; \
             name one of its unique keys, or add one: ALTER TABLE cars ADD UNIQUE (stock, car_name)",
        ),
        (
            json!({"columns": {"car_name": {"clean": ["null_if_empty"], "default": ""}}}),
            "the `default` for column `car_name` (varchar(20)) of table `cars` is null",
        ),
        (json!({"key": [], "columns": {}}), "column `id` (integer) of table `cars` is NOT NULL without a default"),
    ];
    for (changes, expected) in table {
        let errors = errors(changes.clone(), cars());
        assert!(errors.iter().any(|error| error.contains(expected)), "{changes}: {errors:#?}");
    }
    let nothing = TableSchema { columns: vec![column("a", INT)], ..cars() };
    assert_eq!(
        errors(json!({"key": [], "columns": {}}), nothing),
        ["route `rooms-cars`: it writes no column of table `cars`; name one under `columns`"]
    );
    let mut alike = cars();
    alike.columns.push(column("Stock", INT));
    assert!(
        errors(json!({"columns": {"STOCK": "s", "car_name": "n"}}), alike)[0].contains("write one of them exactly")
    );
}
