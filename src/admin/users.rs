//! Users as an admin sees and changes them, and what everybody may do with their own account. The console, the admin API and
//! `tidegate user` call these.

use std::net::IpAddr;

use secrecy::SecretString;
use serde::Serialize;
use tidegate_actors::delivery::now_ms;

use super::{ActError, FieldError, Role, Who};
use crate::{
    registry::Edit,
    resources::{Document, User},
    users::{
        Enrolment, Lang, Session, SignInError, SignedIn, Users, name_complaint, new_epoch, normal, password, unknown,
    },
};

/// Most users: every node holds them all.
const MOST_USERS: usize = 1_000;

/// A user as lists show them: nothing of a password, a code or a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UserView {
    /// Their name.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Whether signing in asks for a code.
    pub second_factor: bool,
    /// How many recovery codes are left.
    pub recovery_codes: usize,
    /// When they were added, in milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// When the password was last set, in milliseconds since the Unix epoch.
    pub password_at_ms: u64,
    /// When they last signed in, in milliseconds since the Unix epoch.
    pub signed_in_at_ms: Option<u64>,
    /// Where from.
    pub signed_in_from: Option<String>,
    /// Until when they are locked out after wrong attempts, in milliseconds since the Unix epoch.
    pub locked_until_ms: Option<u64>,
}

/// All users, by name.
///
/// # Errors
/// They may not, or Redis is away.
pub async fn list(users: &Users, who: &Who) -> Result<Vec<UserView>, ActError> {
    who.needs(Role::Admin)?;
    let all = users.all().await?;
    let names: Vec<&str> = all.iter().map(|user| user.name.as_str()).collect();
    let seen = users.seen(&names).await?;
    let view = |(user, seen): (&User, crate::users::Seen)| {
        let (signed_in_at_ms, signed_in_from) = seen.last.unzip();
        UserView {
            name: user.name.clone(),
            role: user.role,
            second_factor: user.second.is_some(),
            recovery_codes: user.second.as_ref().map_or(0, |second| second.recovery.len()),
            created_at_ms: user.created_at_ms,
            password_at_ms: user.password_at_ms,
            signed_in_at_ms,
            signed_in_from,
            locked_until_ms: seen.locked_until_ms,
        }
    };
    let mut views: Vec<UserView> = all.iter().zip(seen).map(view).collect();
    views.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(views)
}

/// Whether there is such a user, for who is to be asked more before an act.
///
/// # Errors
/// There is none, or Redis is away.
pub async fn known(users: &Users, name: &str) -> Result<(), ActError> {
    let name = normal(name);
    let all = users.all().await?;
    if all.iter().any(|user| user.name == name) { Ok(()) } else { Err(unknown(&all, &name)) }
}

/// Adds a user; answers with their name as it is kept.
///
/// # Errors
/// They may not, the name is taken, or something that was given is wrong.
pub async fn add(users: &Users, who: &Who, name: &str, role: Role, password: SecretString) -> Result<String, ActError> {
    who.needs(Role::Admin)?;
    let name = normal(name);
    let mut wrong: Vec<FieldError> =
        [name_complaint(&name), password::complaint(&name, &password, "password")].into_iter().flatten().collect();
    let taken = || FieldError {
        field: "name".into(),
        code: "user_taken",
        message: format!("there is a user `{name}` already; give another name"),
    };
    // Before the slow work; once more in the change itself.
    if users.find(&name).await?.is_some() {
        wrong.push(taken());
    }
    if !wrong.is_empty() {
        return Err(ActError::Invalid(wrong));
    }
    let (password, now) = (users.hash(password).await?, now_ms());
    let user = User {
        name: name.clone(),
        role,
        password,
        created_at_ms: now,
        password_at_ms: now,
        epoch: new_epoch(),
        lang: None,
        second: None,
    };
    users
        .change(who, |current| {
            if current.users.iter().any(|known| known.name == name) {
                return Err(ActError::Invalid(vec![taken()]));
            }
            if current.users.len() >= MOST_USERS {
                return Err(ActError::Conflict(format!("there are {MOST_USERS} users already; remove some")));
            }
            let mut document = current.clone();
            document.users.push(user.clone());
            Ok(Edit { document, what: vec![format!("create user `{name}`, role {}", role.as_str())], value: () })
        })
        .await?;
    // A user of this name may have been locked out before there was one.
    users.forget(&name).await?;
    Ok(name)
}

/// Gives a user another role; their sessions end.
///
/// # Errors
/// They may not, there is no such user, or it is the last admin.
pub async fn set_role(users: &Users, who: &Who, name: &str, role: Role) -> Result<(), ActError> {
    who.needs(Role::Admin)?;
    let name = normal(name);
    users
        .change(who, |current| {
            let mut document = current.clone();
            let user = find(&mut document, current, &name)?;
            if user.role == role {
                return Ok(Edit { document, what: vec![], value: () });
            }
            let what = format!("role of user `{name}`: {} → {}", user.role.as_str(), role.as_str());
            (user.role, user.epoch) = (role, new_epoch());
            keep_an_admin(&document, &name)?;
            Ok(Edit { document, what: vec![what], value: () })
        })
        .await
}

/// Sets a user's password; their sessions end, and a lock with them.
///
/// # Errors
/// They may not, there is no such user, or the password will not do.
pub async fn set_password(users: &Users, who: &Who, name: &str, password: SecretString) -> Result<(), ActError> {
    who.needs(Role::Admin)?;
    let name = normal(name);
    replace_password(users, who, &name, password, "password").await.map(drop)
}

/// Removes a user; their sessions end.
///
/// # Errors
/// They may not, there is no such user, or it is the last admin.
pub async fn remove(users: &Users, who: &Who, name: &str) -> Result<(), ActError> {
    who.needs(Role::Admin)?;
    let name = normal(name);
    users
        .change(who, |current| {
            let mut document = current.clone();
            find(&mut document, current, &name)?;
            document.users.retain(|user| user.name != name);
            keep_an_admin(&document, &name)?;
            Ok(Edit { document, what: vec![format!("remove user `{name}`")], value: () })
        })
        .await?;
    Ok(users.forget(&name).await?)
}

/// Ends all sessions of a user; everybody may end their own.
///
/// # Errors
/// They may not, or there is no such user.
pub async fn end_sessions(users: &Users, who: &Who, name: &str) -> Result<(), ActError> {
    let name = normal(name);
    if *who.name != *name {
        who.needs(Role::Admin)?;
    }
    let epoch = new_epoch();
    users
        .edit(who, &name, |user| {
            user.epoch.clone_from(&epoch);
            Ok(vec![format!("end all sessions of user `{name}`")])
        })
        .await
}

/// Turns a user's second factor off, for somebody who has lost the device and the recovery codes; their sessions end.
///
/// # Errors
/// They may not, or there is no such user.
pub async fn second_factor_off(users: &Users, who: &Who, name: &str) -> Result<(), ActError> {
    who.needs(Role::Admin)?;
    let name = normal(name);
    turn_off(users, who, &name, Some(new_epoch())).await
}

/// One's own password, after the present one was given once more. All sessions end; the answer is a new one.
///
/// # Errors
/// The present password is wrong, or the new one will not do.
pub async fn change_own_password(
    users: &Users,
    who: &Who,
    present: SecretString,
    new: SecretString,
    from: IpAddr,
) -> Result<SignedIn, ActError> {
    own(users, who, present, from).await?;
    let user = replace_password(users, who, &who.name, new, "new").await?;
    Ok(users.open(&user, Some(from)).await?)
}

/// Begins to turn on one's own second factor, after the password was given once more.
///
/// # Errors
/// The password is wrong, or there is no master key.
pub async fn enrol(users: &Users, who: &Who, password: SecretString, from: IpAddr) -> Result<Enrolment, ActError> {
    own(users, who, password, from).await?;
    users.enrol(&who.name)
}

/// Turns one's own second factor off, after the password was given once more.
///
/// # Errors
/// The password is wrong.
pub async fn own_second_factor_off(
    users: &Users,
    who: &Who,
    password: SecretString,
    from: IpAddr,
) -> Result<(), ActError> {
    own(users, who, password, from).await?;
    turn_off(users, who, &who.name, None).await
}

/// One's own language.
///
/// # Errors
/// There is no such user any more, or Redis is away.
pub async fn set_lang(users: &Users, who: &Who, lang: Option<Lang>) -> Result<(), ActError> {
    users
        .edit(who, &who.name, |user| {
            if user.lang == lang {
                return Ok(vec![]);
            }
            user.lang = lang;
            let name = lang.map_or("the browser's", Lang::as_str);
            Ok(vec![format!("language of user `{}`: {name}", user.name)])
        })
        .await
}

/// Who is signed in, for acts.
#[must_use]
pub fn signed(session: &Session, from: IpAddr) -> Who {
    Who { name: session.user.clone(), role: session.role, from: from.to_canonical().to_string().into() }
}

/// Whether it is their password.
async fn own(users: &Users, who: &Who, password: SecretString, from: IpAddr) -> Result<(), ActError> {
    users.confirm(&who.name, password, from).await.map_err(|error| match error {
        SignInError::Wrong => ActError::Invalid(vec![FieldError {
            field: "password".into(),
            code: "password_wrong",
            message: "this is not your password".into(),
        }]),
        SignInError::LockedUntil(_) => ActError::Conflict("too many wrong passwords; try again in some minutes".into()),
        other => ActError::Unavailable(other.to_string()),
    })
}

async fn replace_password(
    users: &Users,
    who: &Who,
    name: &str,
    password: SecretString,
    field: &str,
) -> Result<User, ActError> {
    if let Some(wrong) = password::complaint(name, &password, field) {
        return Err(ActError::Invalid(vec![wrong]));
    }
    let (password, now, epoch) = (users.hash(password).await?, now_ms(), new_epoch());
    let changed = users
        .change(who, |current| {
            let mut document = current.clone();
            let user = find(&mut document, current, name)?;
            user.password = password.clone();
            user.password_at_ms = now;
            user.epoch.clone_from(&epoch);
            let value = user.clone();
            Ok(Edit { document, what: vec![format!("set the password of user `{name}`")], value })
        })
        .await?;
    users.forget_wrong(name).await?;
    Ok(changed)
}

async fn turn_off(users: &Users, who: &Who, name: &str, epoch: Option<String>) -> Result<(), ActError> {
    users
        .edit(who, name, |user| {
            if user.second.take().is_none() {
                return Ok(vec![]);
            }
            if let Some(epoch) = &epoch {
                user.epoch.clone_from(epoch);
            }
            Ok(vec![format!("turn the second factor of user `{name}` off")])
        })
        .await
}

fn find<'a>(document: &'a mut Document, current: &Document, name: &str) -> Result<&'a mut User, ActError> {
    document.users.iter_mut().find(|user| user.name == name).ok_or_else(|| unknown(&current.users, name))
}

/// Somebody must be able to mend things.
fn keep_an_admin(document: &Document, name: &str) -> Result<(), ActError> {
    if document.users.iter().any(|user| user.role == Role::Admin) {
        return Ok(());
    }
    Err(ActError::Conflict(format!("`{name}` is the last admin; make another user an admin first")))
}
