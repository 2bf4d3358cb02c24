//! Which dead letters are meant: what `list`, `redrive` and `discard` share.

use anyhow::Context as _;
use clap::Args;

use crate::admin::dead_letters;

#[derive(Args)]
pub(super) struct Filter {
    /// Only this destination's
    #[arg(long, value_name = "NAME")]
    pub(super) destination: Option<String>,
    /// Only this route's
    #[arg(long, value_name = "NAME")]
    pub(super) route: Option<String>,
    /// Only those with this code (`unique`, `type`, `check`, `blocked`, …)
    #[arg(long)]
    pub(super) code: Option<String>,
    /// Only those about this column
    #[arg(long, value_name = "NAME")]
    pub(super) column: Option<String>,
    /// Only those given up since then: a moment (2025-06-01T08:00:00Z), or a length of time before now (90s, 15m, 2h, 3d)
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    pub(super) since: Option<Moment>,
    /// Only those given up before then
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    pub(super) until: Option<Moment>,
    /// Only those of messages with this key
    #[arg(long)]
    pub(super) key: Option<String>,
    /// Only those whose key got a later record
    #[arg(long, conflicts_with = "standing")]
    pub(super) superseded: bool,
    /// Only those whose key got no later record
    #[arg(long)]
    pub(super) standing: bool,
}

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy)]
pub(super) struct Moment(u64);

impl Filter {
    /// Whether anything but the destination is named.
    pub(super) fn chooses(&self) -> bool {
        self.route.is_some()
            || self.code.is_some()
            || self.column.is_some()
            || self.since.is_some()
            || self.until.is_some()
            || self.key.is_some()
            || self.superseded
            || self.standing
    }

    /// As it is asked for.
    pub(super) fn asked(&self) -> dead_letters::Filter {
        dead_letters::Filter {
            application: None,
            destination: self.destination.clone(),
            route: self.route.clone(),
            code: self.code.clone(),
            column: self.column.clone(),
            since_ms: self.since.map(|since| since.0),
            until_ms: self.until.map(|until| until.0),
            key: self.key.clone(),
            superseded: (self.superseded || self.standing).then_some(self.superseded),
            group: None,
        }
    }
}

fn moment(text: &str) -> anyhow::Result<Moment> {
    const HINT: &str =
        "is not a moment: write 2025-06-01T08:00:00Z, or a length of time before now such as 90s, 15m, 2h, 3d";
    if let Ok(moment) = chrono::DateTime::parse_from_rfc3339(text) {
        return Ok(Moment(u64::try_from(moment.timestamp_millis()).unwrap_or_default()));
    }
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit_s = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => anyhow::bail!(HINT),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_s * 1_000)).context(HINT)?;
    Ok(Moment(crate::cli::now_ms()?.saturating_sub(seconds)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        assert_eq!(moment("1970-01-01T00:01:00Z").unwrap().0, 60_000);
        let now = crate::cli::now_ms().unwrap();
        let ago = |text| now.saturating_sub(moment(text).unwrap().0) / 1_000;
        assert!((7_195..=7_200).contains(&ago("2h")), "{}", ago("2h"));
        for wrong in ["yesterday", "5", "h", "", "99999999999999999999d"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }
}
