//! What a database and its driver do for a batch: `Destination::commit` of 2,000 rows that are ready in memory, against a bare
//! client that has the same rows ready as the statement itself. Inserts, and upserts of which half are there already; a
//! table of four columns, and a wide one with the usual types and NULLs. No Redis, no mapping.

use std::{
    collections::HashMap,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use sqlx::{
    AssertSqlSafe, Column as _, Connection as _, Encode, Executor as _, MySqlConnection, PgConnection, Postgres,
    Row as _, SqliteConnection, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgTypeInfo},
};
use tidegate::databases::{Connection, kind};
use tidegate_actors::{
    message::{Generation, StreamId},
    ports::Destination,
    transaction::{Cell, Encoded, Fence, LaneId, Op, Statement, TablePlan, Transaction},
};

use crate::{
    Options,
    databases::{usual_mariadb, usual_postgres},
    machine, report,
    servers::{mariadb::MariadbServer, postgres::PostgresServer, run as run_program, temp_dir},
};

/// Rows in a transaction.
const BATCH: usize = 2_000;
/// Transactions before the clock starts: PostgreSQL settles for a plan after five.
const WARM: usize = 6;
/// Rows that are there before upserts begin, from this id on.
const THERE: usize = 1_000_000_000;

/// A column: its name, and its type in PostgreSQL, MariaDB and SQLite.
type Column = (&'static str, [&'static str; 3]);

const NARROW: [Column; 4] = [
    ("id", ["bigint PRIMARY KEY", "bigint PRIMARY KEY", "integer PRIMARY KEY"]),
    ("car_name", ["text", "text", "text"]),
    ("stock", ["int", "int", "int"]),
    ("price", ["numeric(14,2)", "decimal(14,2)", "numeric(14,2)"]),
];
const MORE: [Column; 6] = [
    ("sent_at", ["timestamptz", "datetime(6)", "timestamp"]),
    ("sold", ["boolean", "boolean", "boolean"]),
    ("vin", ["uuid", "char(36)", "uuid"]),
    ("weight", ["double precision", "double", "double"]),
    ("detail", ["jsonb", "json", "json"]),
    ("note", ["varchar(200)", "varchar(200)", "varchar(200)"]),
];

/// A row's values as text, in the order of the columns.
type Row = Vec<Option<String>>;

fn row(id: usize, wide: bool, kind: usize) -> Row {
    let mut row = vec![
        Some(id.to_string()),
        Some(format!("Toyota Avanza {} G CVT", id % 1000)),
        Some((id % 50).to_string()),
        Some(format!("{}.00", 150_000_000 + id % 100_000)),
    ];
    if wide {
        let zone = if kind == 0 { "+00:00" } else { "" };
        row.extend([
            Some(format!("2025-06-{:02} 08:{:02}:{:02}.5{zone}", id % 28 + 1, id % 60, id / 60 % 60)),
            Some((id.is_multiple_of(3)).to_string()),
            Some(format!("018f4f3e-7a1c-7cc0-98c4-{id:012x}")),
            Some(format!("{}.25", 1_000 + id % 700)),
            Some(format!(r#"{{"doors":{},"colour":"white","extras":["airbag","radio"]}}"#, id % 5 + 1)),
            (!id.is_multiple_of(4)).then(|| format!("said to be in \"good\" order, {id}")),
        ]);
    }
    row
}

/// One of the databases under measurement.
enum Server {
    Postgres(PostgresServer),
    Mariadb(MariadbServer),
    Sqlite { _dir: tempfile::TempDir },
}

struct Database {
    server: Server,
    name: String,
    url: String,
    /// Its place in [`Column`].
    kind: usize,
}

const KINDS: [&str; 3] = ["postgres", "mysql", "sqlite"];

impl Database {
    async fn start(kind: usize) -> Self {
        match kind {
            0 => {
                let server = usual_postgres(&[]);
                let name = server.database().await;
                Self { url: server.url(&name), name, kind, server: Server::Postgres(server) }
            }
            1 => {
                let server = usual_mariadb();
                let name = server.database().await;
                Self { url: server.url(&name), name, kind, server: Server::Mariadb(server) }
            }
            _ => {
                let dir = temp_dir();
                let path = dir.path().join("bench.db");
                std::fs::File::create(&path).unwrap();
                let url = format!("sqlite://{}", path.display());
                Self { url, name: path.display().to_string(), kind, server: Server::Sqlite { _dir: dir } }
            }
        }
    }

    /// The server's process.
    fn process(&self) -> Option<u32> {
        let path = match &self.server {
            Server::Postgres(server) => server.dir().join("data/postmaster.pid"),
            Server::Mariadb(server) => server.dir().join("pid"),
            Server::Sqlite { .. } => return None,
        };
        std::fs::read_to_string(path).unwrap().lines().next().unwrap().trim().parse().ok()
    }

    async fn bare(&self) -> Bare {
        match &self.server {
            Server::Postgres(server) => Bare::Postgres(server.connect(&self.name).await),
            Server::Mariadb(server) => Bare::Mariadb(server.connect(&self.name).await),
            Server::Sqlite { .. } => {
                let mut file = SqliteConnection::connect(&self.url).await.unwrap();
                file.execute("PRAGMA journal_mode = WAL; PRAGMA busy_timeout = 10000").await.unwrap();
                Bare::Sqlite(file)
            }
        }
    }

    /// The table as a round finds it.
    async fn reset(&self, columns: &[Column], upsert: bool) {
        let mut bare = self.bare().await;
        bare.run("DROP TABLE IF EXISTS cars").await;
        let list: Vec<_> = columns.iter().map(|(name, types)| format!("{name} {}", types[self.kind])).collect();
        bare.run(&format!("CREATE TABLE cars ({})", list.join(", "))).await;
        if upsert {
            for start in (THERE..THERE + 100_000).step_by(BATCH) {
                let rows: Vec<Row> =
                    (start..start + BATCH).map(|id| row(id, columns.len() > NARROW.len(), self.kind)).collect();
                bare.run(&values(&rows, columns, self.kind, false)).await;
            }
        }
        match &self.server {
            Server::Postgres(_) => bare.run("CHECKPOINT").await,
            Server::Sqlite { .. } => bare.run("PRAGMA wal_checkpoint(TRUNCATE)").await,
            Server::Mariadb(_) => {}
        }
    }
}

enum Bare {
    Postgres(PgConnection),
    Mariadb(MySqlConnection),
    Sqlite(SqliteConnection),
}

impl Bare {
    async fn run(&mut self, sql: &str) {
        match self {
            Self::Postgres(connection) => drop(sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.unwrap()),
            Self::Mariadb(connection) => drop(sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.unwrap()),
            Self::Sqlite(connection) => drop(sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.unwrap()),
        }
    }
}

fn literal(value: Option<&String>, column: &Column, kind: usize) -> String {
    let Some(value) = value else { return "NULL".into() };
    match column.0 {
        "id" | "stock" | "price" | "weight" => value.clone(),
        "sold" if kind > 0 => (if value == "true" { "1" } else { "0" }).into(),
        _ if kind == 1 => format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''")),
        _ => format!("'{}'", value.replace('\'', "''")),
    }
}

/// One statement of literal values.
fn values(rows: &[Row], columns: &[Column], kind: usize, upsert: bool) -> String {
    let row = |row: &Row| {
        let cells: Vec<_> =
            row.iter().zip(columns).map(|(value, column)| literal(value.as_ref(), column, kind)).collect();
        format!("({})", cells.join(","))
    };
    let rows: Vec<_> = rows.iter().map(row).collect();
    format!("INSERT INTO cars VALUES {}{}", rows.join(","), conflict(columns, kind, upsert))
}

fn conflict(columns: &[Column], kind: usize, upsert: bool) -> String {
    if !upsert {
        return String::new();
    }
    let set = |(name, _): &Column| {
        if kind == 1 { format!("{name}=VALUES({name})") } else { format!("{name}=excluded.{name}") }
    };
    let set: Vec<_> = columns[1..].iter().map(set).collect();
    let head = if kind == 1 { "ON DUPLICATE KEY UPDATE" } else { "ON CONFLICT (id) DO UPDATE SET" };
    format!(" {head} {}", set.join(","))
}

/// A parameter that is ready in PostgreSQL's binary format.
#[derive(Clone)]
struct Packed(PgTypeInfo, Vec<u8>);

impl Type<Postgres> for Packed {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("text[]")
    }
}

impl Encode<'_, Postgres> for Packed {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&self.1);
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(self.0.clone())
    }
}

fn bare_type(column: &Column) -> &'static str {
    column.1[0].split(" PRIMARY").next().unwrap().split('(').next().unwrap()
}

/// The columns of some rows as arrays, which the server itself has made.
async fn arrays(rows: &[Row], columns: &[Column], connection: &mut PgConnection) -> Vec<Packed> {
    let mut packed = Vec::new();
    for (place, column) in columns.iter().enumerate() {
        let element = |row: &Row| match &row[place] {
            Some(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
            None => "NULL".into(),
        };
        let list: Vec<_> = rows.iter().map(element).collect();
        let sql = format!("SELECT '{{{}}}'::{}[]", list.join(",").replace('\'', "''"), bare_type(column));
        let row = sqlx::query(AssertSqlSafe(sql)).persistent(false).fetch_one(&mut *connection).await.unwrap();
        let bytes = row.try_get_raw(0).unwrap().as_bytes().unwrap().to_vec();
        packed.push(Packed(row.column(0).type_info().clone(), bytes));
    }
    packed
}

/// The statement that takes them apart.
fn unnest(columns: &[Column], upsert: bool) -> String {
    let list: Vec<_> = (1..).zip(columns).map(|(place, column)| format!("${place}::{}[]", bare_type(column))).collect();
    format!("INSERT INTO cars SELECT * FROM unnest({}){}", list.join(","), conflict(columns, 0, upsert))
}

/// What writes the rows of a round.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Side {
    Product,
    Values,
    Arrays,
    Python,
}

fn ids(batch: usize, upsert: bool) -> impl Iterator<Item = usize> {
    (batch * BATCH + 1..=(batch + 1) * BATCH)
        .map(move |id| if upsert && id.is_multiple_of(2) { THERE + id % 100_000 } else { id })
}

/// Measured: seconds, and processor seconds of this process and of the server.
type Cost = [f64; 3];

fn cost(database: &Database) -> [Duration; 2] {
    [machine::cpu(std::process::id()), database.process().map_or(Duration::ZERO, machine::cpu)]
}

async fn measure(database: &Database, side: Side, columns: &[Column], upsert: bool, batches: usize) -> Cost {
    database.reset(columns, upsert).await;
    let wide = columns.len() > NARROW.len();
    let rows: Vec<Vec<Row>> =
        (0..WARM + batches).map(|batch| ids(batch, upsert).map(|id| row(id, wide, database.kind)).collect()).collect();
    let (before, start);
    match side {
        Side::Product => {
            let (mut destination, transactions) = product(database, &rows, upsert).await;
            for transaction in &transactions[..WARM] {
                destination.commit(transaction).await.unwrap();
            }
            (before, start) = (cost(database), Instant::now());
            for transaction in &transactions[WARM..] {
                destination.commit(transaction).await.unwrap();
            }
        }
        Side::Values => {
            let statements: Vec<String> =
                rows.iter().map(|rows| values(rows, columns, database.kind, upsert)).collect();
            let mut bare = database.bare().await;
            for statement in &statements[..WARM] {
                bare.run(statement).await;
            }
            (before, start) = (cost(database), Instant::now());
            for statement in &statements[WARM..] {
                bare.run(statement).await;
            }
        }
        Side::Arrays => {
            let Bare::Postgres(mut connection) = database.bare().await else { unreachable!() };
            let sql: Arc<str> = unnest(columns, upsert).into();
            let mut statements = Vec::new();
            for rows in &rows {
                statements.push(arrays(rows, columns, &mut connection).await);
            }
            let query = |packed: Vec<Packed>| {
                packed.into_iter().fold(sqlx::query(AssertSqlSafe(sql.clone())), |query, packed| query.bind(packed))
            };
            let timed = statements.split_off(WARM);
            for packed in statements {
                query(packed).execute(&mut connection).await.unwrap();
            }
            (before, start) = (cost(database), Instant::now());
            for packed in timed {
                query(packed).execute(&mut connection).await.unwrap();
            }
        }
        Side::Python => return python(database, &rows, columns, upsert),
    }
    let seconds = start.elapsed().as_secs_f64();
    let after = cost(database);
    let used = |place: usize| after[place].saturating_sub(before[place]).as_secs_f64();
    [seconds, used(0), used(1)]
}

/// A program that does nothing else; the processor's time is its own.
fn python(database: &Database, rows: &[Vec<Row>], columns: &[Column], upsert: bool) -> Cost {
    const SCRIPT: &str = "import json, sqlite3, sys, time
task = json.load(open(sys.argv[1]))
file = sqlite3.connect(task['file'], isolation_level=None)
file.execute('PRAGMA journal_mode = WAL'); file.execute('PRAGMA synchronous = FULL')
number = {'id': int, 'stock': int, 'sold': lambda text: int(text == 'true'), 'weight': float}
read = [number.get(name, str) for name in task['columns']]
batches = [[tuple(None if v is None else f(v) for f, v in zip(read, row)) for row in rows] for rows in task['rows']]
for place, batch in enumerate(batches):
    if place == task['warm']: start, cpu = time.perf_counter(), time.process_time()
    file.execute('BEGIN IMMEDIATE'); file.executemany(task['sql'], batch); file.execute('COMMIT')
print(time.perf_counter() - start, time.process_time() - cpu)";
    let marks = vec!["?"; columns.len()].join(",");
    let task = json!({
        "file": database.name, "warm": WARM, "rows": rows, "columns": columns.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        "sql": format!("INSERT INTO cars VALUES ({marks}){}", conflict(columns, 2, upsert)),
    });
    let dir = temp_dir();
    let path = dir.path().join("task.json");
    std::fs::write(&path, task.to_string()).unwrap();
    let answer = run_program(Command::new("python3").args(["-c", SCRIPT]).arg(&path)).unwrap();
    let figures: Vec<f64> = answer.split_whitespace().map(|figure| figure.parse().unwrap()).collect();
    [figures[0], figures[1], 0.0]
}

/// The adapter, with its lane taken over, and the transactions in a row.
async fn product(database: &Database, batches: &[Vec<Row>], upsert: bool) -> (Box<dyn Destination>, Vec<Transaction>) {
    let mut destination = (kind(KINDS[database.kind]).unwrap().open)(Connection {
        name: "bench".into(),
        url: database.url.parse().unwrap(),
        password: None,
        tls: None,
        connect_timeout: Duration::from_secs(10),
        session_timeout: Duration::from_secs(30),
        home: None,
    });
    let lane = LaneId { installation: "i".into(), destination: "d".into(), stream: "cars".into(), part: "main".into() };
    let found = destination.take_over("i", "d", "one").await.unwrap();
    let generation = Generation::new("g");
    let mut at = match found.rows.first() {
        Some(row) => row.last_id,
        None => {
            destination.begin_lane(&lane, &generation, "one", StreamId::ZERO).await.unwrap();
            StreamId::ZERO
        }
    };
    let table = destination.table("cars").await.unwrap();
    let plan = Arc::new(TablePlan {
        route: "r".into(),
        columns: (0..table.columns.len()).collect(),
        key: vec![0],
        only_unique_key: true,
        version: None,
        table: Arc::new(table),
    });
    let transactions = batches
        .iter()
        .map(|rows| {
            let cell = |value: &Option<String>| match value {
                Some(text) => Cell::Text(text.as_str().into()),
                None => Cell::Null,
            };
            let statement = Statement {
                op: if upsert { Op::Upsert } else { Op::Insert },
                must_touch: false,
                columns: plan.columns.clone(),
                insert_only: Vec::new(),
                parents: Vec::new(),
                encoded: Encoded::default(),
                rows: rows.iter().map(|row| row.iter().map(cell).collect()).collect(),
                plan: plan.clone(),
            };
            let previous = at;
            at = StreamId::new(at.ms + 1, 0);
            let fence =
                Fence { lane: lane.clone(), generation: generation.clone(), owner: "one".into(), previous, new: at };
            Transaction { statements: vec![statement], ..Transaction::of(fence) }
        })
        .collect();
    (destination, transactions)
}

pub(crate) async fn run(options: &Options) {
    let batches = options.records.unwrap_or(40_000).div_ceil(BATCH);
    let mut results = serde_json::Map::new();
    for (place, name) in KINDS.iter().enumerate() {
        let database = Database::start(place).await;
        let sides: &[Side] = match place {
            0 => &[Side::Product, Side::Values, Side::Arrays],
            1 => &[Side::Product, Side::Values],
            _ => &[Side::Product, Side::Python],
        };
        for (wide, upsert) in [(false, false), (false, true), (true, false), (true, true)] {
            let columns: Vec<Column> = if wide { NARROW.into_iter().chain(MORE).collect() } else { NARROW.to_vec() };
            let mut rates: HashMap<Side, Vec<Cost>> = HashMap::new();
            let mut loads = Vec::new();
            for round in 0..=options.rounds {
                let mut order = sides.to_vec();
                order.rotate_left(round % sides.len());
                for side in order {
                    let cost = measure(&database, side, &columns, upsert, batches).await;
                    if round > 0 {
                        rates.entry(side).or_default().push(cost);
                    }
                }
                loads.push(machine::load());
            }
            let what = format!(
                "{name}: {} of {} columns",
                if upsert { "upserts, half there," } else { "inserts" },
                columns.len()
            );
            results.insert(what.clone(), show(&what, sides, &rates, batches * BATCH, &loads));
        }
    }
    report::write("writes", &json!({"machine": machine::describe(), "rounds": options.rounds, "results": results}));
}

fn show(what: &str, sides: &[Side], rates: &HashMap<Side, Vec<Cost>>, rows: usize, loads: &[f64]) -> serde_json::Value {
    println!("{what} (load average {:.1})", report::median(loads));
    let figures = |side: &Side, place: usize, of: &dyn Fn(f64) -> f64| -> Vec<f64> {
        rates[side].iter().map(|cost| of(cost[place])).collect()
    };
    let per_second = |seconds: f64| rows as f64 / seconds;
    let micros = |seconds: f64| seconds * 1e6 / rows as f64;
    let mut best: Option<Side> = None;
    for side in sides {
        let name = ["product", "bare, values", "bare, arrays", "bare, Python"][*side as usize];
        let rate = figures(side, 0, &per_second);
        report::line(name, "rows/s", &rate, 0);
        println!(
            "    µs of processor a row: own {:.2}, server {:.2}",
            report::median(&figures(side, 1, &micros)),
            report::median(&figures(side, 2, &micros))
        );
        let better = |best: Side| report::median(&figures(&best, 0, &per_second)) < report::median(&rate);
        if *side != Side::Product && best.is_none_or(better) {
            best = Some(*side);
        }
    }
    let limit = best.unwrap();
    let ratios: Vec<f64> =
        rates[&Side::Product].iter().zip(&rates[&limit]).map(|(ours, bare)| bare[0] / ours[0]).collect();
    report::line("ratio to the best bare one", "", &ratios, 3);
    json!({
        "ratio": report::summary(&ratios),
        "product": report::summary(&figures(&Side::Product, 0, &per_second)),
        "bare": report::summary(&figures(&limit, 0, &per_second)),
    })
}
