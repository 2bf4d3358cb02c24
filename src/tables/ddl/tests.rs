//! The statements for each kind, as they are printed.
#![allow(clippy::unwrap_used)]

use tidegate_actors::schema::{ColumnSchema, ColumnType};

use super::*;

fn orders(columns: &str) -> RouteSpec {
    let text = format!(
        r#"{{"name":"shop-orders","application":"shop","topic":"orders","destination":"shop","table":"sales.orders","key":["no"],
            "delete":{{"column":"deleted_at"}},
            "children":[{{"from":"lines","table":"sales.order_lines","parent":{{"order_no":"no"}},
                "columns":{{"line":{{"meta":"index"}},"sku":{{"length":{{"max":20}},"required":true}},"qty":{{"as":"int","default":1}}}}}}],
            "columns":{columns}}}"#
    );
    serde_json::from_str(&text).unwrap()
}

const COLUMNS: &str = r#"{"no":"no","total":{"as":"decimal","clean":[{"round":2}]},"state":{"one_of":["new","paid"],"default":"new"},
    "paid":{"as":"bool","default":false},"at":{"as":"timestamp","zone":"Asia/Jakarta"},"received":{"meta":"received"},
    "buyer":{"from":"customer.id","as":"uuid"},"raw":{"as":"json"},"note":"note","o'clock":{"as":"time"},"photo":{"as":"bytes"},
    "rate":{"as":"float"},"day":{"as":"date"},"seen":{"as":"timestamp"},"source":{"value":"shop"}}"#;

fn all(dialect: Dialect) -> String {
    let needed = lacking(dialect, &orders(COLUMNS), None, &[None]).unwrap();
    format!("{}\n{}", needed.statements.join(";\n"), needed.notes.join("\n"))
}

#[test]
fn postgres_makes_a_table_and_its_childs() {
    insta::assert_snapshot!(all(Dialect::Postgres), @r##"
    CREATE TABLE "sales"."orders" (
        "no" varchar(255) NOT NULL,
        "at" timestamptz,
        "buyer" uuid,
        "day" date,
        "note" text,
        "o'clock" time,
        "paid" boolean DEFAULT FALSE,
        "photo" bytea,
        "rate" double precision,
        "raw" jsonb,
        "received" timestamptz,
        "seen" timestamp,
        "source" varchar(255),
        "state" varchar(4) DEFAULT 'new',
        "total" numeric(31,2),
        "deleted_at" timestamptz,
        PRIMARY KEY ("no")
    );
    CREATE TABLE "sales"."order_lines" (
        "order_no" varchar(255) NOT NULL,
        "line" bigint NOT NULL,
        "qty" bigint DEFAULT 1,
        "sku" varchar(20) NOT NULL,
        PRIMARY KEY ("order_no", "line"),
        FOREIGN KEY ("order_no") REFERENCES "sales"."orders" ("no") ON DELETE CASCADE
    )
    rows of `sales.order_lines` go with their row of `sales.orders` (ON DELETE CASCADE), as the route's own deletes take them along
    "##);
}

#[test]
fn mysql_makes_a_table_and_its_childs() {
    insta::assert_snapshot!(all(Dialect::MySql), @r##"
    CREATE TABLE `sales`.`orders` (
        `no` varchar(255) NOT NULL,
        `at` datetime(6),
        `buyer` char(36),
        `day` date,
        `note` text,
        `o'clock` time(6),
        `paid` boolean DEFAULT FALSE,
        `photo` longblob,
        `rate` double,
        `raw` json,
        `received` datetime(6),
        `seen` datetime(6),
        `source` varchar(255),
        `state` varchar(4) DEFAULT 'new',
        `total` decimal(38,2),
        `deleted_at` datetime(6),
        PRIMARY KEY (`no`)
    );
    CREATE TABLE `sales`.`order_lines` (
        `order_no` varchar(255) NOT NULL,
        `line` bigint NOT NULL,
        `qty` bigint DEFAULT 1,
        `sku` varchar(20) NOT NULL,
        PRIMARY KEY (`order_no`, `line`),
        FOREIGN KEY (`order_no`) REFERENCES `sales`.`orders` (`no`) ON DELETE CASCADE
    )
    rows of `sales.order_lines` go with their row of `sales.orders` (ON DELETE CASCADE), as the route's own deletes take them along
    "##);
}

#[test]
fn sqlite_makes_a_table_and_its_childs() {
    insta::assert_snapshot!(all(Dialect::Sqlite), @r##"
    CREATE TABLE "sales.orders" (
        "no" TEXT NOT NULL,
        "at" TIMESTAMP WITH TIME ZONE,
        "buyer" UUID,
        "day" DATE,
        "note" TEXT,
        "o'clock" TIME,
        "paid" BOOLEAN DEFAULT 0,
        "photo" BLOB,
        "rate" REAL,
        "raw" JSON,
        "received" TIMESTAMP WITH TIME ZONE,
        "seen" TIMESTAMP,
        "source" TEXT,
        "state" TEXT DEFAULT 'new',
        "total" DECIMAL,
        "deleted_at" TIMESTAMP WITH TIME ZONE,
        PRIMARY KEY ("no")
    );
    CREATE TABLE "sales.order_lines" (
        "order_no" TEXT NOT NULL,
        "line" INTEGER NOT NULL,
        "qty" INTEGER DEFAULT 1,
        "sku" TEXT NOT NULL,
        PRIMARY KEY ("order_no", "line"),
        FOREIGN KEY ("order_no") REFERENCES "sales.orders" ("no") ON DELETE CASCADE
    )
    rows of `sales.order_lines` go with their row of `sales.orders` (ON DELETE CASCADE), as the route's own deletes take them along
    "##);
}

#[test]
fn sql_server_makes_a_table_and_its_childs() {
    insta::assert_snapshot!(all(Dialect::SqlServer), @r##"
    CREATE TABLE [sales].[orders] (
        [no] nvarchar(255) NOT NULL,
        [at] datetimeoffset(6) NULL,
        [buyer] uniqueidentifier NULL,
        [day] date NULL,
        [note] nvarchar(max) NULL,
        [o'clock] time(6) NULL,
        [paid] bit NULL DEFAULT 0,
        [photo] varbinary(max) NULL,
        [rate] float(53) NULL,
        [raw] nvarchar(max) NULL,
        [received] datetimeoffset(6) NULL,
        [seen] datetime2(6) NULL,
        [source] nvarchar(255) NULL,
        [state] nvarchar(4) NULL DEFAULT N'new',
        [total] decimal(38,2) NULL,
        [deleted_at] datetimeoffset(6) NULL,
        PRIMARY KEY ([no])
    );
    CREATE TABLE [sales].[order_lines] (
        [order_no] nvarchar(255) NOT NULL,
        [line] bigint NOT NULL,
        [qty] bigint NULL DEFAULT 1,
        [sku] nvarchar(20) NOT NULL,
        PRIMARY KEY ([order_no], [line]),
        FOREIGN KEY ([order_no]) REFERENCES [sales].[orders] ([no]) ON DELETE CASCADE
    )
    rows of `sales.order_lines` go with their row of `sales.orders` (ON DELETE CASCADE), as the route's own deletes take them along
    "##);
}

#[test]
fn only_what_is_missing_is_added() {
    let column = |name: &str| ColumnSchema {
        name: name.into(),
        declared: "integer".into(),
        kind: ColumnType::Other,
        nullable: true,
        has_default: false,
        default: None,
        generated: false,
    };
    let there = TableSchema {
        schema: "sales".into(),
        name: "orders".into(),
        columns: vec![column("No"), column("deleted_at")],
        unique_keys: vec![vec!["No".into()]],
    };
    let route = orders(r#"{"no":"no","total":{"as":"decimal","required":true},"note":{"length":{"max":80}}}"#);
    let needed = lacking(Dialect::MySql, &route, Some(&there), &[None]).unwrap();
    insta::assert_snapshot!(format!("{}\n{}", needed.statements.join(";\n"), needed.notes.join("\n")), @r##"
    ALTER TABLE `sales`.`orders` ADD COLUMN `note` varchar(80);
    ALTER TABLE `sales`.`orders` ADD COLUMN `total` decimal(38,9);
    CREATE TABLE `sales`.`order_lines` (
        `order_no` integer NOT NULL,
        `line` bigint NOT NULL,
        `qty` bigint DEFAULT 1,
        `sku` varchar(20) NOT NULL,
        PRIMARY KEY (`order_no`, `line`),
        FOREIGN KEY (`order_no`) REFERENCES `sales`.`orders` (`No`) ON DELETE CASCADE
    )
    column `total` of table `orders` takes NULL, since rows may be there already; fill it, then make it NOT NULL
    rows of `sales.order_lines` go with their row of `sales.orders` (ON DELETE CASCADE), as the route's own deletes take them along
    "##);
    let lines = TableSchema { name: "order_lines".into(), columns: vec![], ..there.clone() };
    let needed = lacking(Dialect::SqlServer, &route, Some(&there), &[Some(lines)]).unwrap();
    insta::assert_snapshot!(needed.statements.join(";\n"), @r##"
    ALTER TABLE [sales].[orders] ADD [note] nvarchar(80) NULL;
    ALTER TABLE [sales].[orders] ADD [total] decimal(38,9) NULL;
    ALTER TABLE [sales].[order_lines] ADD [order_no] integer NULL;
    ALTER TABLE [sales].[order_lines] ADD [line] bigint NULL;
    ALTER TABLE [sales].[order_lines] ADD [qty] bigint NULL DEFAULT 1;
    ALTER TABLE [sales].[order_lines] ADD [sku] nvarchar(20) NULL
    "##);
}

#[test]
fn a_route_that_names_no_columns_makes_no_table() {
    let mut route = orders("{}");
    route.columns = Columns::default();
    let told = lacking(Dialect::Postgres, &route, None, &[None]).unwrap_err();
    assert!(told.contains("`sales.orders`") && told.contains("name the columns"), "{told}");
}
