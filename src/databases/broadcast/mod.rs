//! Broadcasts as a destination: a record becomes a message on the shops' terminals, a changed one its correction, a deleted one
//! its recall.
//!
//! It is no database of its own but this installation's Redis, under the hash tag of broadcasts: the destination's places stand
//! beside the messages, so that one script looks at the fence and writes everything, or nothing. What a transaction makes of the
//! messages that stand is worked out here (`sheet`), and the script compares each with what was read.

mod bookkeeping;
mod row;
mod scripts;
mod sheet;
mod table;

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::LocalBoxFuture;
use redis::{RedisResult, ScriptInvocation};
use tidegate_actors::{
    delivery::random_token,
    message::{Generation, StreamId},
    ports::{Destination, Fault, Rejection, TableName, WriteError},
    route::RouteSpec,
    schema::TableSchema,
    transaction::{Committed, LaneId, Statement, TakenOver, Transaction, Trial, Tried, WatermarkRow, settled},
};

use self::sheet::{Around, Sheet};
use super::{CheckStep, Connection, Home, Kind};
use crate::{
    broadcast::{
        keys::BroadcastKeys,
        message::{Audience, Reach, State},
        roll::Roll,
        store::Broadcasts,
    },
    redis::{
        self as store, Link,
        connection::{describe, is_broken},
    },
    resources::Document,
};

/// Broadcasts.
pub const KIND: Kind = Kind {
    name: "broadcast",
    title: "Broadcasts",
    port: None,
    here: true,
    parallel: false,
    refuses,
    example: r#"[[destination]]
name = "shops"
kind = "broadcast"
url = "broadcast://shops"
"#,
    notes: "Records become messages on the shops' terminals, through the one table `broadcasts`. It is this installation's own Redis, \
            so it has no server, user or password, and nothing is to be set up.",
    ddl: "",
    grants: "",
    validate,
    open: |settings| Box::new(Shops::new(settings)),
    check: |settings| check(settings),
};

/// The only address there is.
const ADDRESS: &str = "broadcast://shops";
/// Longest wait for an answer.
const WITHIN: Duration = Duration::from_millis(1_800);
/// How often a transaction is worked out anew because somebody changed one of its messages.
const ATTEMPTS: usize = 8;
/// Length of a bind token.
const BIND_CHARACTERS: usize = 20;

fn validate(settings: &Connection) -> Result<(), String> {
    let url = settings.url.as_str();
    if url.trim_end_matches('/') != ADDRESS {
        return Err(format!("broadcasts have one address: write url = \"{ADDRESS}\""));
    }
    if settings.password.is_some() {
        return Err("broadcasts have no password of their own: they are in this installation's Redis".into());
    }
    if settings.tls.is_some() {
        return Err(
            "broadcasts go over this installation's Redis, whose address says how it is secured: leave `tls` out"
                .into(),
        );
    }
    Ok(())
}

/// What a message on a terminal can't be part of.
fn refuses(route: &RouteSpec) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    if !route.children.is_empty() {
        let why = "a message has no rows below it: write what is in the list into its `text` (an expression can join it), or \
                   send it by a route of its own";
        found.push(("children", why.to_owned()));
    }
    if let Some(column) = route.version_column.as_ref().filter(|column| *column != "valid_until") {
        let why = format!(
            "`{column}` does not tell which of two messages is the newer one: leave `version_column` out (records of a key come in \
             their order anyway), or use `valid_until`"
        );
        found.push(("version_column", why));
    }
    found
}

/// The shops' terminals, behind Redis.
struct Shops {
    home: Option<Inside>,
}

struct Inside {
    home: Home,
    link: Link,
    keys: BroadcastKeys,
    broadcasts: Broadcasts,
}

/// What a script said of a transaction.
enum Said {
    Written,
    /// The dead row that was to be taken back is not there.
    Gone,
}

impl Shops {
    fn new(settings: Connection) -> Self {
        let inside = |home: Home| Inside {
            link: home.redis.own_link(),
            keys: BroadcastKeys::of(home.redis.keys()),
            broadcasts: Broadcasts::new(&home.redis).beside(),
            home,
        };
        Self { home: settings.home.map(inside) }
    }

    fn inside(&self) -> Result<&Inside, WriteError> {
        let why = "broadcasts are sent by a node, and this is none: nothing is known of its Redis here";
        self.home.as_ref().ok_or_else(|| WriteError::Hold(Fault::new(why)))
    }
}

impl Inside {
    /// One call, within its time. It may be made twice, so a transaction's fence must keep the second from counting.
    async fn run<T>(&self, call: impl AsyncFn(store::Connection) -> RedisResult<T>) -> Result<T, WriteError> {
        match tokio::time::timeout(WITHIN, self.link.run(call)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if is_broken(&error) || error.is_connection_refusal() => {
                Err(WriteError::Retry(Fault::lost(describe(&error))))
            }
            Ok(Err(error)) => Err(WriteError::Retry(Fault::new(describe(&error)))),
            Err(_) => Err(WriteError::Retry(Fault::lost("Redis did not answer in time"))),
        }
    }

    fn document(&self) -> Arc<Document> {
        self.home.documents.borrow().clone().unwrap_or_default()
    }

    /// What stands under the keys of these statements' rows, and the time.
    async fn read(&self, statements: &[Statement]) -> Result<(u64, Sheet), WriteError> {
        let mut keys: Vec<&str> = statements.iter().flat_map(keys_of).collect();
        keys.sort_unstable();
        keys.dedup();
        let (rows, messages) = (self.keys.rows(), self.keys.messages());
        let answer: Vec<String> = self
            .run(async |mut connection| {
                scripts::READ.key(&rows).key(&messages).arg(&keys).invoke_async(&mut connection).await
            })
            .await?;
        let mut answer = answer.into_iter();
        let now = answer.next().and_then(|now| now.parse().ok()).ok_or_else(odd)?;
        let mut sheet = Sheet::default();
        for key in keys {
            let (Some(id), Some(there)) = (answer.next(), answer.next()) else { return Err(odd()) };
            sheet.add(key, id, there);
        }
        Ok((now, sheet))
    }

    /// Who could see a message, where there may be new ones.
    async fn roll(&self, statements: &[Statement], document: &Document) -> Result<Roll, WriteError> {
        if statements.is_empty() {
            return Ok(Roll::default());
        }
        let called = Roll::call(&self.broadcasts, document).await;
        called.map_err(|error| WriteError::Retry(Fault::lost(error.to_string())))
    }

    /// Works a transaction out and writes it, anew where somebody changed one of its messages in between.
    async fn transact(
        &self,
        statements: &[Statement],
        trials: &[Trial],
        write: impl AsyncFn(&Sheet, &Tried) -> Result<Option<Said>, WriteError>,
    ) -> Result<Tried, WriteError> {
        for _ in 0..ATTEMPTS {
            let document = self.document();
            let roll = self.roll(statements, &document).await?;
            let (now_ms, mut sheet) = self.read(statements).await?;
            let reach = |audience: &Audience| roll.reach(audience);
            let around = Around { document: &document, reach: &reach, now_ms };
            let tried = sheet.carry_out(&around, statements, trials)?;
            match write(&sheet, &tried).await? {
                Some(Said::Written) => return Ok(tried),
                Some(Said::Gone) => return Ok(Tried::default()),
                None => {}
            }
        }
        Err(WriteError::Retry(Fault::new("others change the same broadcasts all the time")))
    }

    /// Whether the fences of a transaction hold, and the dead row that it takes back is there. Nothing is written.
    async fn stands(&self, places: &Places, transaction: &Transaction) -> Result<Said, WriteError> {
        for fence in transaction.lock.iter().chain([&transaction.fence]) {
            let field = bookkeeping::row_field(&fence.lane, &fence.generation);
            let found: Option<String> = self
                .run(async |mut connection| {
                    redis::cmd("HGET").arg(&places.watermarks).arg(&field).query_async(&mut connection).await
                })
                .await?;
            let row = found.map(|value| bookkeeping::watermark(&field, &value)).transpose()?;
            if !row.is_some_and(|row| *row.owner == *fence.owner && row.last_id == fence.previous) {
                return Err(WriteError::Fenced);
            }
        }
        let Some(dead) = &transaction.exhume else { return Ok(Said::Written) };
        let field = bookkeeping::dead_field(&transaction.fence.lane.main(), dead);
        let there: bool = self
            .run(async |mut connection| {
                redis::cmd("HEXISTS").arg(&places.dead).arg(&field).query_async(&mut connection).await
            })
            .await?;
        Ok(if there { Said::Written } else { Said::Gone })
    }

    async fn write(&self, places: &Places, arguments: &Sections) -> Result<Option<Said>, WriteError> {
        let keys = &self.keys;
        let said: String = self
            .run(async |mut connection| {
                let mut call: ScriptInvocation<'_> = scripts::COMMIT.key(&places.watermarks);
                call.key(&places.dead).key(keys.rows()).key(keys.messages()).key(keys.order());
                call.key(keys.log()).key(keys.log_meta()).key(keys.scheduled()).arg(random_token(10));
                for argument in &arguments.0 {
                    call.arg(argument);
                }
                call.invoke_async(&mut connection).await
            })
            .await?;
        match said.as_str() {
            "OK" => Ok(Some(Said::Written)),
            "GONE" => Ok(Some(Said::Gone)),
            "CHANGED" => Ok(None),
            "FENCED" => Err(WriteError::Fenced),
            _ => Err(odd()),
        }
    }
}

/// Where a destination's own rows are.
struct Places {
    watermarks: String,
    dead: String,
}

impl Places {
    fn of(keys: &BroadcastKeys, installation: &str, destination: &str) -> Self {
        Self { watermarks: keys.watermarks(installation, destination), dead: keys.dead(installation, destination) }
    }

    fn of_lane(keys: &BroadcastKeys, lane: &LaneId) -> Self {
        Self::of(keys, &lane.installation, &lane.destination)
    }
}

/// The arguments of the script, section by section.
#[derive(Default)]
struct Sections(Vec<String>);

impl Sections {
    fn add<const WIDTH: usize>(&mut self, rows: impl IntoIterator<Item = [String; WIDTH]>) {
        let length = self.0.len();
        self.0.push(String::new());
        let mut many = 0;
        for row in rows {
            self.0.extend(row);
            many += 1;
        }
        self.0[length] = many.to_string();
    }

    fn sheet(&mut self, sheet: &Sheet) -> Result<(), WriteError> {
        let mut messages = Vec::new();
        for (id, change) in sheet.messages() {
            let body = serde_json::to_string(&change.message).map_err(|_| odd())?;
            let due = change.message.due_ms.filter(|_| change.message.state == State::Scheduled);
            let due = due.map(|due| due.to_string()).unwrap_or_default();
            messages.push([id.clone(), change.there.clone(), body, change.message.at_ms().to_string(), due]);
        }
        self.add(messages);
        self.add(sheet.rows().map(|(key, there, now)| [key.to_owned(), there.to_owned(), now.to_owned()]));
        let entries = sheet.entries().iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>();
        self.add(entries.map_err(|_| odd())?.into_iter().map(|entry| [entry]));
        Ok(())
    }
}

/// The keys of a statement's rows.
fn keys_of(statement: &Statement) -> impl Iterator<Item = &str> {
    let place = statement.written().position(|column| column.name == "key");
    statement.rows.iter().filter_map(move |row| match row.get(place?)? {
        tidegate_actors::transaction::Cell::Text(text) => Some(&**text),
        _ => None,
    })
}

fn odd() -> WriteError {
    WriteError::Retry(Fault::new("Redis gave an answer that can't be understood"))
}

#[async_trait(?Send)]
impl Destination for Shops {
    async fn probe(&mut self) -> Result<(), WriteError> {
        let inside = self.inside()?;
        let key = inside.keys.bindings();
        inside.run(async |mut connection| scripts::PROBE.key(&key).invoke_async(&mut connection).await).await
    }

    async fn take_over(&mut self, installation: &str, destination: &str, owner: &str) -> Result<TakenOver, WriteError> {
        let inside = self.inside()?;
        let (places, bindings) = (Places::of(&inside.keys, installation, destination), inside.keys.bindings());
        let token = random_token(BIND_CHARACTERS);
        let (bind, rows, dead): (String, HashMap<String, String>, HashMap<String, String>) = inside
            .run(async |mut connection| {
                let mut call = scripts::TAKE_OVER.key(&places.watermarks);
                call.key(&places.dead).key(&bindings).arg(owner).arg(destination).arg(&token);
                call.invoke_async(&mut connection).await
            })
            .await?;
        bookkeeping::taken_over(bind, rows, dead)
    }

    async fn begin_lane(
        &mut self,
        lane: &LaneId,
        generation: &Generation,
        owner: &str,
        last_id: StreamId,
    ) -> Result<(), WriteError> {
        let inside = self.inside()?;
        let places = Places::of_lane(&inside.keys, lane);
        let (field, id) = (bookkeeping::row_field(lane, generation), last_id.to_string());
        let begun: u8 = inside
            .run(async |mut connection| {
                let mut call = scripts::BEGIN.key(&places.watermarks);
                call.arg(owner).arg(&field).arg(&id).invoke_async(&mut connection).await
            })
            .await?;
        if begun == 1 { Ok(()) } else { Err(WriteError::Fenced) }
    }

    async fn watermark(&mut self, lane: &LaneId, generation: &Generation) -> Result<Option<WatermarkRow>, WriteError> {
        let inside = self.inside()?;
        let (places, field) = (Places::of_lane(&inside.keys, lane), bookkeeping::row_field(lane, generation));
        let found: Option<String> = inside
            .run(async |mut connection| {
                redis::cmd("HGET").arg(&places.watermarks).arg(&field).query_async(&mut connection).await
            })
            .await?;
        found.map(|value| bookkeeping::watermark(&field, &value)).transpose()
    }

    async fn table(&mut self, name: &str) -> Result<TableSchema, WriteError> {
        table::find(name)
    }

    async fn tables(&mut self) -> Result<Vec<TableName>, WriteError> {
        Ok(table::all())
    }

    async fn define(&mut self, _: &[String]) -> Result<(), WriteError> {
        let why = "the table of broadcasts is always there, and is as it is";
        Err(WriteError::Hold(Fault::new(why)))
    }

    async fn commit(&mut self, transaction: &Transaction) -> Result<Committed, WriteError> {
        self.commit_trials(transaction, &[]).await.map(|tried| tried.committed)
    }

    async fn commit_trials(&mut self, transaction: &Transaction, trials: &[Trial]) -> Result<Tried, WriteError> {
        let inside = self.inside()?;
        let places = Places::of_lane(&inside.keys, &transaction.fence.lane);
        let main = transaction.fence.lane.main();
        let write = async |sheet: &Sheet, tried: &Tried| {
            let mut sections = Sections::default();
            sections.add(transaction.lock.iter().chain([&transaction.fence]).map(|fence| {
                let field = bookkeeping::row_field(&fence.lane, &fence.generation);
                [field, fence.owner.to_string(), fence.previous.to_string(), fence.new.to_string()]
            }));
            sections.add(transaction.exhume.iter().map(|dead| [bookkeeping::dead_field(&main, dead)]));
            sections.add(
                transaction
                    .open
                    .iter()
                    .map(|side| [bookkeeping::row_field(&side.lane, &side.generation), side.last_id.to_string()]),
            );
            sections.add(transaction.close.iter().map(|lane| [lane.to_string()]));
            sections.sheet(sheet)?;
            let (supersede, bury) = settled(transaction, trials, &tried.refused);
            sections.add(
                supersede.iter().map(|later| [later.table.to_string(), later.key.to_string(), later.by.to_string()]),
            );
            sections
                .add(bury.iter().map(|row| [bookkeeping::dead_field(&main, &row.dead), bookkeeping::dead_body(row)]));
            inside.write(&places, &sections).await
        };
        match inside.transact(&transaction.statements, trials, write).await {
            // The fence comes first: a row that is refused is no answer for whoever is not the owner any more.
            Err(WriteError::Reject(reason)) => match inside.stands(&places, transaction).await? {
                Said::Written => Err(WriteError::Reject(reason)),
                Said::Gone => Ok(Tried::default()),
            },
            outcome => outcome,
        }
    }

    async fn sift(&mut self, transaction: &Transaction) -> Result<Vec<Rejection>, WriteError> {
        let inside = self.inside()?;
        let (now_ms, mut sheet) = inside.read(&transaction.statements).await?;
        let document = inside.document();
        let around = Around { document: &document, reach: &|_| Reach::default(), now_ms };
        Ok(sheet.sift(&around, &transaction.statements))
    }

    async fn write(&mut self, statements: &[Statement]) -> Result<Committed, WriteError> {
        let inside = self.inside()?;
        // No row of ours is looked at.
        let places = Places::of(&inside.keys, "", "");
        let write = async |sheet: &Sheet, _: &Tried| {
            let mut sections = Sections::default();
            sections.add::<4>([]);
            sections.add::<1>([]);
            sections.add::<2>([]);
            sections.add::<1>([]);
            sections.sheet(sheet)?;
            sections.add::<3>([]);
            sections.add::<2>([]);
            inside.write(&places, &sections).await
        };
        inside.transact(statements, &[], write).await.map(|tried| tried.committed)
    }
}

/// Asks Redis for a sign of life, and says whom there is to reach.
fn check(settings: &Connection) -> LocalBoxFuture<'_, Vec<CheckStep>> {
    Box::pin(async move {
        let step = |step, outcome: Result<String, String>| CheckStep { step, subject: ADDRESS.into(), outcome };
        if let Err(why) = validate(settings) {
            return vec![step("login", Err(why))];
        }
        let mut shops = Shops::new(settings.clone());
        if let Err(error) = shops.probe().await {
            return vec![step("login", Err(error.to_string()))];
        }
        let mut steps = vec![step("login", Ok("this installation's Redis takes writes".into()))];
        if let Some(inside) = &shops.home {
            let found = inside.document().shops.len();
            let outcome = match inside.broadcasts.terminals().await {
                Ok(terminals) => Ok(format!("{found} shops, {} terminals", terminals.len())),
                Err(error) => Err(error.to_string()),
            };
            steps.push(step("rights", outcome));
        }
        steps
    })
}
