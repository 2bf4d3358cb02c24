//! Each database gets the fields it needs and no others: the two examples that middleware of this sort is explained with.

use std::time::Duration;

use super::{
    installation::{Installation, Node},
    ledger::Target,
};
use crate::servers::{mariadb::MariadbServer, postgres::PostgresServer, wait_for};

/// A manifest of one application with one topic, and a route per (destination, table, columns).
fn manifest(application: &str, topic: &str, targets: &[Target], routes: &[(usize, &str, &str)]) -> String {
    let mut text = format!("[[application]]\nname = \"{application}\"\ntopics = [\"{topic}\"]\n");
    for Target { name, kind, url } in targets {
        text += &format!("[[destination]]\nname = \"{name}\"\nkind = \"{kind}\"\nurl = \"{url}\"\n");
    }
    for (target, table, columns) in routes {
        let destination = &targets[*target].name;
        text += &format!(
            "[[route]]\nname = \"{destination}-{table}\"\napplication = \"{application}\"\ntopic = \"{topic}\"\n\
             destination = \"{destination}\"\ntable = \"{table}\"\n[route.columns]\n{columns}\n"
        );
    }
    text
}

/// What the table holds, a row a line.
async fn table(target: &Target, columns: &[&str], table: &str) -> Option<String> {
    let parts = columns.join(", '|', ");
    target.text(&format!("select concat({parts}) from {table}")).await
}

async fn send(node: &Node, key: &str, body: &str) {
    let url = format!("http://127.0.0.1:{}/v1/messages", node.listen);
    let client = awc::Client::default();
    let request = client.post(url).bearer_auth(key).content_type("application/json");
    let answer = request.send_body(body.to_owned()).await.unwrap();
    assert_eq!(answer.status(), 202);
}

async fn holds(target: &Target, columns: &[&str], name: &str, wanted: &str) {
    wait_for(&format!("{}.{name} holds {wanted}", target.name), Duration::from_secs(30), async || {
        table(target, columns, name).await.filter(|found| found == wanted)
    })
    .await;
}

async fn two_databases() -> Vec<Target> {
    let (postgres, mariadb) = (PostgresServer::shared().await, MariadbServer::shared().await);
    vec![
        Target { name: "database-1".into(), kind: "postgres", url: postgres.url(&postgres.database().await) },
        Target { name: "database-2".into(), kind: "mysql", url: mariadb.url(&mariadb.database().await) },
    ]
}

#[actix_web::test]
async fn item_a_goes_to_one_database_with_its_price_and_to_the_other_with_its_category_and_type() {
    let targets = two_databases().await;
    targets[0].execute("create table items (name varchar(80), price decimal(14, 2))").await;
    targets[1].execute("create table items (name varchar(80), category varchar(80), type varchar(80))").await;
    let installation = Installation::new().await;
    let (first, second) =
        ("name = \"name\"\nprice = \"price\"", "name = \"name\"\ncategory = \"category\"\ntype = \"type\"");
    installation.apply(&manifest("erp", "items", &targets, &[(0, "items", first), (1, "items", second)]));
    let key = installation.run(&["key", "create", "erp"]).trim().to_owned();
    let node = installation.node("a");
    node.ready().await;
    let item = r#"{"topic":"items","data":{"name":"A","price":150000,"category":"kitchen","sub-category":"knives",
        "type":"retail"}}"#;
    send(&node, &key, item).await;
    holds(&targets[0], &["name", "price"], "items", "A|150000.00").await;
    holds(&targets[1], &["name", "category", "type"], "items", "A|kitchen|retail").await;
}

#[actix_web::test]
async fn a_car_goes_to_cars_with_both_fields_and_to_the_showroom_with_its_name_alone() {
    let targets = two_databases().await;
    targets[0].execute("create table cars (stock int, car_name varchar(80))").await;
    targets[1].execute("create table showroom (car_name varchar(80))").await;
    let installation = Installation::new().await;
    let both = "stock = \"stock\"\ncar_name = \"car_name\"";
    let routes = [(0, "cars", both), (1, "showroom", "car_name = \"car_name\"")];
    installation.apply(&manifest("car-app", "cars", &targets, &routes));
    let key = installation.run(&["key", "create", "car-app"]).trim().to_owned();
    let node = installation.node("a");
    node.ready().await;
    let record = r#"{"stock":"4","car_name":"porche 911 15"}"#;
    send(&node, &key, &format!(r#"{{"topic":"cars","data":{record}}}"#)).await;
    holds(&targets[0], &["stock", "car_name"], "cars", "4|porche 911 15").await;
    holds(&targets[1], &["car_name", "''"], "showroom", "porche 911 15|").await;
}
