//! How long broadcasts and their receipts are kept.

use crate::{
    admin::{ActError, Admin, Role, Who, fields::wrong},
    broadcast::parts::KEPT_DAYS,
    registry::Edit,
};

/// Longest time, in days.
const MOST_DAYS: u32 = 3_650;

/// For how many days they are kept.
#[must_use]
pub fn days(admin: &Admin) -> u32 {
    admin.document().settings.broadcasts_kept_days.unwrap_or(KEPT_DAYS)
}

/// Sets for how many days they are kept; `None` is the default of 90. What is older goes within a minute.
///
/// # Errors
/// They may not, the number is out of range (field `broadcasts_kept_days`), or Redis is away.
pub async fn set(admin: &Admin, who: &Who, days: Option<u32>) -> Result<(), ActError> {
    who.needs(Role::Admin)?;
    if days.is_some_and(|days| !(1..=MOST_DAYS).contains(&days)) {
        let message = format!("give a number of days from 1 to {MOST_DAYS}");
        return Err(ActError::Invalid(vec![wrong("broadcasts_kept_days", "out_of_range", message)]));
    }
    admin
        .registry(who)?
        .change(|current| {
            let mut document = current.clone();
            let before = std::mem::replace(&mut document.settings.broadcasts_kept_days, days);
            let what = if before == days {
                vec![]
            } else {
                vec![format!("broadcasts are kept for {} days", days.unwrap_or(KEPT_DAYS))]
            };
            Ok::<_, ActError>(Edit { document, what, value: () })
        })
        .await?;
    Ok(())
}
