//! What delivery promises, over every kind of database and the one in memory: folding changes nothing, bad rows are given
//! up alone, nothing is lost and nothing written twice, whatever goes wrong between.
//!
//! A behaviour is written once against a [`scene::Scene`]: the real [`tidegate_actors::delivery::Delivery`] between a log in
//! memory and the destination under test. The kinds are the [`crate::contract::Subject`]s of the driver's own contract.

mod answers;
mod bad_rows;
mod blocked;
mod dead_letters;
mod decisions;
mod folding;
mod generations;
mod holds;
mod order;
mod policies;
mod routes;
mod scene;
mod trials;

/// Every behaviour for one kind: `delivery_suite!(on_postgres, crate::contract::postgres::Postgres);`.
macro_rules! delivery_suite {
    ($kind:ident, $subject:path) => {
        delivery_suite! { @areas $kind, $subject,
            folding: [
                a_batch_gives_what_its_messages_give_one_by_one,
                a_hot_key_whose_last_change_is_bad_takes_few_transactions,
                one_table_by_two_keys_is_written_in_order,
                inserts_without_a_key_keep_their_place_among_changes_by_key,
            ],
            bad_rows: [
                bad_rows_of_every_kind_are_given_up_and_nothing_else_is,
                what_one_route_refuses_another_still_writes,
                what_comes_before_an_unreadable_entry_is_written,
            ],
            answers: [
                a_lost_answer_after_the_commit_writes_nothing_twice,
                a_refusal_before_anything_was_done_is_tried_again,
                a_hang_ends_in_time_and_is_tried_again,
                the_same_batch_after_a_restart_is_passed_over,
                the_log_hears_of_a_batch_while_the_next_one_is_written,
                a_batch_the_log_has_not_heard_of_is_recorded_by_the_next_owner,
                a_second_owner_stops_the_first_in_the_middle,
                a_batch_that_does_not_follow_is_refused,
            ],
            dead_letters: [
                a_payload_is_kept_before_its_row,
                a_redrive_writes_and_takes_back_payload_and_row,
                a_redrive_that_fails_again_says_why_and_stays,
                what_was_superseded_is_refused_unless_forced,
                what_was_superseded_before_a_restart_is_refused_after_it,
                what_was_buried_in_doubt_is_superseded_too,
                what_is_given_up_after_a_later_record_is_not_superseded_by_it,
                a_redrive_supersedes_older_dead_letters_of_its_key,
                a_discard_takes_back_payload_and_row,
                a_void_payload_goes_at_the_take_over,
                a_payload_whose_record_was_written_after_all_goes,
                a_lost_answer_to_a_redrive_writes_once,
                a_route_that_takes_another_topic_now_loses_no_dead_letter,
            ],
            blocked: [
                later_records_wait_behind_a_dead_letter_of_their_key,
                a_redrive_of_the_first_writes_those_behind_it_in_their_order,
                a_chain_stops_at_the_first_that_fails,
                what_waits_is_not_redriven_before_the_first,
                a_forced_redrive_goes_over_the_gap,
                a_discard_of_the_first_makes_the_next_one_the_first,
                what_waits_still_waits_after_a_restart,
                a_row_that_the_database_refuses_blocks_within_its_batch,
                a_mapping_failure_in_between_keeps_its_own_reason,
                an_edited_redrive_writes_the_edit,
                an_edit_that_is_refused_leaves_the_original,
            ],
            trials: [
                many_bad_rows_take_few_transactions,
                a_row_is_dead_only_after_all_before_it,
                later_records_of_a_tried_key_are_told_apart,
                a_lost_answer_to_a_trial_is_read_from_the_database,
                a_bad_parent_takes_its_children_with_it,
            ],
            holds: [
                a_missing_table_holds_by_the_routes_name_and_goes_on,
                a_table_dropped_behind_our_back_holds_and_goes_on,
                a_column_dropped_behind_our_back_holds_and_goes_on,
                a_widened_column_is_noticed_before_a_row_is_given_up,
                another_database_holds,
            ],
            generations: [
                an_older_generation_is_finished_first,
                an_emptied_log_is_read_from_its_start,
                what_was_trimmed_before_it_was_delivered_holds,
            ],
            decisions: [
                a_gap_waits_for_a_decision_and_goes_on_from_it,
                after_a_gap_the_last_decision_counts,
                a_decision_about_a_place_that_is_gone_decides_nothing,
                a_gap_in_an_older_generation_is_passed_as_decided,
                a_decision_survives_lost_answers,
                another_database_gets_what_is_decided,
                another_database_gets_everything_if_that_is_decided,
                another_database_gets_what_comes_from_now_on,
                a_crash_before_or_after_the_new_token_is_harmless,
                a_dead_letter_whose_record_is_lost_is_seen_and_discarded,
            ],
            routes: [
                every_change_is_written_when_the_route_says_so,
                an_update_of_a_missing_row_comes_to_what_the_route_says,
                defaults_are_for_new_rows_only,
                two_routes_into_one_table_keep_their_order,
                a_route_begins_where_it_starts,
            ],
            policies: [
                values_are_picked_by_path_and_filtered,
                existing_rows_are_what_the_route_says,
                a_delete_is_what_the_route_says,
                a_missing_child_table_holds_by_the_routes_name,
            ],
        }
    };
    (@areas $kind:ident, $subject:path, $($area:ident: $behaviours:tt,)*) => {
        mod $kind {
            $(delivery_suite! { @area $area, $subject, $behaviours })*
        }
    };
    (@area $area:ident, $subject:path, [$($behaviour:ident,)*]) => {
        mod $area {
            $(#[test]
            fn $behaviour() {
                crate::contract::run::<$subject>(crate::delivery::$area::$behaviour);
            })*
        }
    };
}

delivery_suite!(in_memory, crate::contract::memory::Memory);
delivery_suite!(on_mariadb, crate::contract::mariadb::Mariadb);
delivery_suite!(on_postgres, crate::contract::postgres::Postgres);
delivery_suite!(on_sqlite, crate::contract::sqlite::Sqlite);
