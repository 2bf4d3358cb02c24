//! The contract that every kind of database and the in-memory destination must keep, written once.
//!
//! A kind takes part with a [`Subject`] and one line of [`contract_suite!`] at the end of this file; each behaviour is
//! then a test of its own, `contract::<kind>::<area>::<behaviour>`. A behaviour gets a fresh, empty [`Database`] and
//! only speaks of tables in the neutral words of [`table`]; what a kind cannot do it says in [`Database::can`].

pub(crate) mod broadcast;
mod bulk;
mod catalogue;
mod children;
mod dead_letters;
mod definition;
mod elsewhere;
mod fencing;
pub(crate) mod mariadb;
pub(crate) mod memory;
pub(crate) mod mysql;
mod operations;
pub(crate) mod postgres;
mod rejections;
mod sides;
pub(crate) mod sqlite;
pub(crate) mod sqlserver;
pub(crate) mod table;
mod types;
mod unfenced;
mod versions;
pub(crate) mod writer;

use async_trait::async_trait;
use tidegate_actors::ports::Destination;

use table::Table;

/// A kind of database under test.
#[async_trait(?Send)]
pub(crate) trait Subject {
    /// A fresh, empty database, gone (or abandoned) when it is dropped.
    async fn fresh() -> Box<dyn Database>;

    /// Why this kind can't be tested here, where it can't: the tests then pass with a line that says so.
    fn absent() -> Option<String> {
        None
    }
}

/// A fresh, empty database and what a test must be able to do to it beside our back.
#[async_trait(?Send)]
pub(crate) trait Database {
    /// A destination of its own: every call is another writer with its own connection to the same database.
    fn open(&self) -> Box<dyn Destination>;

    /// Whether this kind can do, or enforces, such a thing. Behaviours that need it pass without it.
    fn can(&self, ability: Ability) -> bool;

    /// Makes a table. SQL kinds send [`table::create`].
    async fn create(&self, table: &Table);

    /// Drops a table.
    async fn drop_table(&self, table: &str);

    /// Drops a column.
    async fn drop_column(&self, table: &str, column: &str);

    /// Every row, with a text for every column of `table`, in any order. SQL kinds send [`table::select`]; numbers,
    /// booleans, times and JSON may come in the database's own spelling ([`table::canonical`] evens them out), bytes
    /// come in hex.
    async fn rows(&self, table: &Table) -> Vec<Vec<Option<String>>>;
}

/// What not every kind can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ability {
    /// CHECK constraints.
    Check,
    /// Foreign keys.
    ForeignKey,
    /// The length of a `Varchar` is enforced.
    Length,
    /// The bounds of `SmallInt` and `Int` are enforced.
    Range,
    /// Unsigned 64-bit integers.
    Unsigned,
    /// Decimals of more than 15 digits are kept digit by digit.
    LongDecimal,
    /// Enumerations.
    Enum,
    /// Computed and identity columns.
    Generated,
    /// A timestamp that is an instant.
    Instant,
    /// Names with spaces, quotes, reserved words and mixed case.
    OddNames,
    /// Tables and columns can be dropped behind our back.
    Drop,
    /// Tables are made by statements.
    Define,
}

/// Runs one behaviour against a fresh database, on a runtime of its own (as each destination has in the product).
pub(crate) fn run<S: Subject>(behaviour: impl AsyncFnOnce(&dyn Database)) {
    if let Some(why) = S::absent() {
        println!("skipped: {why}");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let database = S::fresh().await;
        behaviour(database.as_ref()).await;
    });
}

/// Every behaviour for one kind: `contract_suite!(postgres, crate::servers::postgres::Postgres);`.
macro_rules! contract_suite {
    ($kind:ident, $subject:path) => {
        contract_suite! { @areas $kind, $subject,
            fencing: [
                a_take_over_of_an_empty_database_makes_the_tables,
                a_probe_answers,
                a_lane_that_was_never_begun_has_no_watermark,
                a_begun_lane_stands_where_it_was_begun,
                a_lane_is_begun_once,
                another_owner_is_fenced,
                a_take_over_raises_the_epoch_and_reads_every_row,
                a_take_over_leaves_other_destinations_alone,
                a_commit_moves_the_watermark_with_its_rows,
                a_wrong_previous_place_writes_nothing,
                a_transaction_is_not_written_twice,
                lanes_of_one_destination_move_apart,
                a_call_that_is_dropped_leaves_nothing_half_done,
            ],
            sides: [
                a_side_row_is_opened_moved_and_closed_with_its_rows,
                a_side_row_that_is_there_already_is_not_opened_again,
                a_side_row_moves_only_under_the_main_row_its_owner_knows,
                a_take_over_fences_the_side_rows_too,
                a_transaction_that_fails_opens_and_closes_nothing,
                closing_takes_the_rows_of_all_generations_and_of_no_other_part,
                parts_differ_by_case_and_may_be_long,
                a_side_lane_can_be_begun_by_its_owner,
                what_a_side_lane_gives_up_is_the_main_lanes,
            ],
            operations: [
                an_insert_makes_a_row_and_absent_columns_get_their_default,
                rows_without_a_key_are_all_kept,
                an_upsert_inserts_or_changes_the_given_columns,
                an_upsert_of_the_key_alone_changes_nothing_that_is_there,
                what_only_an_insert_writes_leaves_a_row_that_is_there_alone,
                an_insert_if_absent_leaves_a_row_that_is_there_as_it_is,
                a_partial_upsert_of_a_row_that_is_there_needs_no_required_column,
                an_update_changes_the_given_columns,
                an_update_of_a_missing_row_is_rejected_by_its_place,
                rows_that_touched_nothing_are_reported_by_their_place,
                a_delete_removes_the_row,
                a_replacement_forgets_what_it_does_not_name,
                composite_keys_tell_rows_apart,
                statements_over_several_tables_are_written_in_order,
                odd_names_are_taken_as_they_are,
            ],
            bulk: [
                inserts,
                upserts,
                updates,
                replacements,
                deletes,
                untouched_rows_among_many,
                composite_keys_in_bulk,
            ],
            versions: [
                an_older_upsert_leaves_a_newer_row_alone,
                an_older_update_leaves_a_newer_row_alone_and_finds_it,
                an_older_delete_leaves_a_newer_row_alone,
                the_guard_holds_beside_other_unique_keys_and_for_parts_of_a_row,
                a_default_version_is_no_guard,
                versions_of_every_type,
                many_versions_at_once,
            ],
            children: [
                a_clearing_removes_every_row_with_these_values,
                a_clearing_of_many_parents,
                a_clearing_that_is_refused_undoes_the_rest,
                rows_go_with_a_row_that_is_missing,
                rows_go_with_a_row_that_is_newer,
                rows_go_with_a_row_that_is_only_inserted,
                a_bad_row_behind_one_that_is_passed_over_is_named_by_its_place,
            ],
            rejections: [
                a_duplicate_insert,
                a_bad_row_among_many,
                an_upsert_that_meets_another_rows_unique_key,
                null_in_a_required_column,
                a_value_that_a_check_refuses,
                a_reference_to_a_row_that_is_not_there,
                a_text_that_is_too_long,
                a_number_out_of_range,
            ],
            catalogue: [
                a_table_is_described_by_its_columns_and_keys,
                computed_columns_are_left_to_the_database,
                a_missing_table_is_named_with_the_nearest_there_is,
                a_table_dropped_behind_our_back_holds_and_goes_on_when_it_is_back,
                a_column_dropped_behind_our_back_holds_and_is_named,
            ],
            definition: [
                tables_are_listed_without_ours,
                defaults_are_told,
                tables_and_columns_are_made_as_asked,
                a_definition_that_fails_says_which_and_leaves_the_connection_usable,
            ],
            dead_letters: [
                what_is_buried_is_found_by_the_next_owner,
                nothing_is_buried_by_a_transaction_that_fails,
                a_later_record_supersedes_the_dead_ones_of_its_key,
                a_redrive_takes_the_dead_row_back_and_writes,
                a_redrive_that_is_refused_leaves_the_dead_row,
                a_discard_takes_back_exactly_one_dead_row,
            ],
            unfenced: [
                rows_need_no_table_of_ours,
                what_is_written_twice_is_the_same_row,
                a_bad_row_undoes_the_rest_and_is_told,
                a_table_that_is_gone_holds,
                two_writers_of_the_same_rows_both_come_through,
            ],
            types: [
                whole_numbers_at_their_bounds,
                small_whole_numbers,
                whole_numbers_of_32_bits,
                unsigned_numbers_of_64_bits,
                decimals,
                decimals_of_many_digits,
                floating_point_numbers,
                booleans,
                text_in_every_language,
                text_of_bounded_length,
                long_text,
                text_with_nul_where_the_column_says_so,
                dates,
                times_of_day,
                timestamps_without_a_zone,
                instants,
                uuids,
                json,
                bytes,
                enumerations,
                keys_of_every_type,
            ],
        }
    };
    (@areas $kind:ident, $subject:path, $($area:ident: $behaviours:tt,)*) => {
        mod $kind {
            $(contract_suite! { @area $area, $subject, $behaviours })*
        }
    };
    (@area $area:ident, $subject:path, [$($behaviour:ident,)*]) => {
        mod $area {
            $(#[test]
            fn $behaviour() {
                crate::contract::run::<$subject>(crate::contract::$area::$behaviour);
            })*
        }
    };
}

// What speaks of tables of other shapes can't apply: see the module.
contract_suite! { @areas on_broadcasts, crate::contract::broadcast::Shops,
    fencing: [
        a_take_over_of_an_empty_database_makes_the_tables,
        a_probe_answers,
        a_lane_that_was_never_begun_has_no_watermark,
        a_begun_lane_stands_where_it_was_begun,
        a_lane_is_begun_once,
        another_owner_is_fenced,
        a_take_over_raises_the_epoch_and_reads_every_row,
        a_take_over_leaves_other_destinations_alone,
        a_commit_moves_the_watermark_with_its_rows,
        a_wrong_previous_place_writes_nothing,
        a_transaction_is_not_written_twice,
        lanes_of_one_destination_move_apart,
        a_call_that_is_dropped_leaves_nothing_half_done,
    ],
    sides: [
        a_side_row_is_opened_moved_and_closed_with_its_rows,
        a_side_row_that_is_there_already_is_not_opened_again,
        a_side_row_moves_only_under_the_main_row_its_owner_knows,
        a_take_over_fences_the_side_rows_too,
        closing_takes_the_rows_of_all_generations_and_of_no_other_part,
        parts_differ_by_case_and_may_be_long,
        a_side_lane_can_be_begun_by_its_owner,
        what_a_side_lane_gives_up_is_the_main_lanes,
    ],
    dead_letters: [
        what_is_buried_is_found_by_the_next_owner,
        nothing_is_buried_by_a_transaction_that_fails,
        a_later_record_supersedes_the_dead_ones_of_its_key,
        a_redrive_takes_the_dead_row_back_and_writes,
        a_redrive_that_is_refused_leaves_the_dead_row,
        a_discard_takes_back_exactly_one_dead_row,
    ],
}
contract_suite!(in_memory, crate::contract::memory::Memory);
contract_suite!(on_mariadb, crate::contract::mariadb::Mariadb);
contract_suite!(on_mysql, crate::contract::mysql::MySql);
contract_suite!(on_postgres, crate::contract::postgres::Postgres);
contract_suite!(on_sqlite, crate::contract::sqlite::Sqlite);
contract_suite!(on_sqlserver, crate::contract::sqlserver::SqlServer);
