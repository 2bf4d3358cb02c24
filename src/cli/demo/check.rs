//! The demo's verdict: what every database holds, against what was sent.

use std::collections::BTreeSet;

use console::Style;

use super::{
    databases::{Contents, Database},
    records::Records,
};
use crate::cli::table::{Table, count, left, paint, right};

/// What one database was found to hold.
struct Found {
    /// Records that never came.
    missing: u64,
    /// Records that came more than once.
    twice: u64,
    /// Records that came before an earlier one.
    out_of_order: u64,
    /// Cars that are not as their last record says.
    cars_wrong: u64,
    cars: u64,
    arrived: u64,
    sum: i64,
    sum_wanted: i64,
}

impl Found {
    fn is_right(&self) -> bool {
        self.missing + self.twice + self.out_of_order + self.cars_wrong == 0 && self.sum == self.sum_wanted
    }
}

/// The table and whether everything is right.
pub(super) async fn check(databases: &[Database], records: Records) -> anyhow::Result<(Table, bool)> {
    let mut table = Table::new([
        left("DATABASE"),
        right("RECORDS"),
        right("MISSING"),
        right("TWICE"),
        right("OUT OF ORDER"),
        right("CARS UP TO DATE"),
        left("SUM"),
    ]);
    let mut all_right = true;
    for database in databases {
        let found = compare(&database.contents().await?, database, records);
        all_right &= found.is_right();
        let (mark, style) = if found.is_right() { ("✓", Style::new().green()) } else { ("✗", Style::new().red()) };
        let sum = if found.sum == found.sum_wanted {
            format!("{} {}", database.sum, count(found.sum.unsigned_abs()))
        } else {
            format!("{} {}, not {}", database.sum, found.sum, found.sum_wanted)
        };
        table.row([
            format!("{} {}", paint(mark, &style), database.name),
            count(found.arrived),
            count(found.missing),
            count(found.twice),
            count(found.out_of_order),
            format!("{} of {}", count(found.cars - found.cars_wrong.min(found.cars)), count(found.cars)),
            sum,
        ]);
    }
    Ok((table, all_right))
}

fn compare(contents: &Contents, database: &Database, records: Records) -> Found {
    let wanted = records.last(database.sum);
    let wrong_or_foreign =
        contents.cars.iter().filter(|(id, version, value)| wanted.get(id) != Some(&(*version, *value))).count();
    let absent = wanted.keys().filter(|id| contents.cars.binary_search_by_key(*id, |car| car.0).is_err()).count();
    let (mut missing, mut twice, mut out_of_order) = (0, 0, 0);
    for numbers in std::iter::once(&contents.arrivals).chain(&contents.history) {
        let different: BTreeSet<i64> = numbers.iter().copied().collect();
        let all = 1..=i64::try_from(records.total).unwrap_or(i64::MAX);
        missing += all.filter(|no| !different.contains(no)).count() as u64;
        twice += (numbers.len() - different.len()) as u64;
        out_of_order += numbers.windows(2).filter(|pair| pair[0] > pair[1]).count() as u64;
    }
    Found {
        missing,
        twice,
        out_of_order,
        cars_wrong: (wrong_or_foreign + absent) as u64,
        cars: wanted.len() as u64,
        arrived: contents.arrivals.len() as u64,
        sum: contents.cars.iter().map(|car| car.2).sum(),
        sum_wanted: wanted.values().map(|(_, value)| value).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(arrivals: &[i64], change: impl FnOnce(&mut Vec<(i64, i64, i64)>)) -> Found {
        let database =
            Database { name: "a", kind: "sqlite", keeps: &["id", "stock"], sum: "stock", url: String::new() };
        let records = Records { total: 20 };
        let mut cars: Vec<_> =
            records.last("stock").into_iter().map(|(id, (version, sum))| (id, version, sum)).collect();
        change(&mut cars);
        let history = Some((1..=20).collect());
        compare(&Contents { arrivals: arrivals.to_vec(), history, cars }, &database, records)
    }

    #[test]
    fn the_check_tells_what_is_wrong() {
        let all: Vec<i64> = (1..=20).collect();
        assert!(found(&all, |_| {}).is_right());
        assert_eq!(found(&all[1..], |_| {}).missing, 1);
        assert_eq!(found(&[&all[..], &[20]].concat(), |_| {}).twice, 1);
        assert_eq!(found(&[&all[1..], &[1]].concat(), |_| {}).out_of_order, 1);
        assert_eq!(found(&all, |cars| cars[0].1 -= 1).cars_wrong, 1);
        assert_eq!(
            found(&all, |cars| {
                cars.pop();
            })
            .cars_wrong,
            1
        );
    }
}
