//! Broadcasts end to end: nodes as processes, a real Redis, terminals that speak the protocol.

mod acts;
mod admin_api;
mod destination;
mod faults;
mod listen;
mod producers;
mod terminal;
mod terminals;

use std::{collections::BTreeMap, time::Duration};

use secrecy::ExposeSecret as _;
use tidegate::{
    admin::{
        ActError, Admin, Role, Who,
        broadcasts::{compose, receipts, terminals as acts_of_terminals},
    },
    broadcast::message::Audience,
    config::{Flags, Settings},
};

use self::terminal::Terminal;
use crate::{
    e2e::installation::{Installation, Node},
    servers::{free_port, wait_for},
};

const SHOPS: &str = r#"
[[application]]
name = "till"
topics = ["sales"]
broadcasts = true

[[application]]
name = "mute"
topics = ["sales"]

[[shop]]
name = "s1"
title = "Shop One"
region = "west"

[[shop]]
name = "s2"
title = "Shop Two"
region = "east"

[[shop]]
name = "s3"
title = "Shop Three"
"#;

/// An installation with three shops, and nodes whose consoles are open.
struct Scene {
    installation: Installation,
    nodes: BTreeMap<&'static str, (Node, String)>,
}

impl Scene {
    /// Starts nodes of these names.
    async fn start(names: &[&'static str]) -> Self {
        let installation = Installation::new().await;
        installation.apply(SHOPS);
        let mut scene = Self { installation, nodes: BTreeMap::new() };
        for name in names {
            let mut node = scene.installation.new_node(name);
            let address = format!("127.0.0.1:{}", free_port());
            node.environment.insert("TIDEGATE_CONSOLE", address.clone());
            node.start(&scene.installation);
            scene.nodes.insert(name, (node, format!("http://{address}")));
        }
        for (node, _) in scene.nodes.values() {
            node.ready().await;
        }
        scene
    }

    /// Where a node's console is.
    fn base(&self, name: &str) -> String {
        self.nodes[name].1.clone()
    }

    fn node(&mut self, name: &str) -> &mut Node {
        &mut self.nodes.get_mut(name).unwrap().0
    }

    /// What acts work with, with the registry as it stands now.
    async fn admin(&self) -> Admin {
        Admin::for_command(self.settings()).await.unwrap()
    }

    fn settings(&self) -> Settings {
        let command = self.installation.command(&[]);
        let environment = command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
        Settings::load_from(&Flags::default(), environment).unwrap()
    }

    /// Enrols a terminal in a shop, at a node.
    async fn terminal(&self, node: &str, shop: &str) -> Terminal {
        let code = self.code(shop).await;
        Terminal::enrol(&self.base(node), &code).await
    }

    async fn code(&self, shop: &str) -> String {
        let admin = self.admin().await;
        let code = acts_of_terminals::make_code(&admin, &head_office(), shop, "Till 1").await.unwrap();
        code.code.expose_secret().to_owned()
    }

    /// Sends to everybody.
    async fn send(&self, title: &str) -> String {
        self.send_draft(&draft(title)).await
    }

    async fn send_draft(&self, draft: &compose::Draft) -> String {
        compose::send(&self.admin().await, &head_office(), draft).await.unwrap().id
    }

    async fn counts(&self, id: &str) -> receipts::Counts {
        receipts::list(&self.admin().await, &head_office(), id, &receipts::Query::default()).await.unwrap().counts
    }

    /// Waits until so many have received and confirmed it.
    async fn has_receipts(&self, id: &str, received: u64, confirmed: u64) {
        let mut last = receipts::Counts::default();
        let begun = std::time::Instant::now();
        loop {
            let counts = self.counts(id).await;
            if (counts.received, counts.confirmed) == (received, confirmed) {
                return;
            }
            last = if counts == last { last } else { counts };
            assert!(begun.elapsed() < Duration::from_secs(10), "{received} and {confirmed} wanted: {last:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn head_office() -> Who {
    Who { name: "sari".into(), role: Role::Broadcaster, from: "10.1.2.3".into() }
}

fn operator() -> Who {
    Who { name: "ana".into(), role: Role::Operator, from: "10.1.2.3".into() }
}

fn draft(title: &str) -> compose::Draft {
    compose::Draft {
        audience: Audience::all(),
        category: "announcement".into(),
        title: title.into(),
        text: "Line one\nline <b>two</b>".into(),
        ..compose::Draft::default()
    }
}

fn to_shops(title: &str, shops: &[&str]) -> compose::Draft {
    let shops = shops.iter().map(|shop| (*shop).to_owned()).collect();
    compose::Draft { audience: Audience { shops, ..Audience::default() }, ..draft(title) }
}

fn codes(error: ActError) -> Vec<(String, &'static str)> {
    match error {
        ActError::Invalid(fields) => fields.into_iter().map(|field| (field.field, field.code)).collect(),
        other => panic!("{other}"),
    }
}

#[actix_web::test]
async fn a_message_goes_from_head_office_to_the_shop_and_its_receipt_back() {
    let scene = Scene::start(&["a"]).await;
    let (one, two) = (scene.terminal("a", "s1").await, scene.terminal("a", "s2").await);
    let (first, second) = (one.listen(None).await, two.listen(None).await);
    first.is_open().await;
    second.is_open().await;
    let (status, me) = one.get("/terminal/me").await;
    assert_eq!((status, me["terminal"]["shop"]["title"].as_str()), (200, Some("Shop One")), "{me}");
    assert_eq!((me["beat_s"].as_u64(), me["categories"].as_array().unwrap().len()), (Some(20), 3), "{me}");
    wait_for("both are on", Duration::from_secs(5), async || {
        let reach = compose::reach(&scene.admin().await, &head_office(), &Audience::all()).await.unwrap();
        ((reach.terminals, reach.on_now) == (2, 2)).then_some(())
    })
    .await;

    let mut draft = to_shops("Closed on Monday", &["s1"]);
    draft.must_confirm = true;
    let sent = compose::send(&scene.admin().await, &head_office(), &draft).await.unwrap();
    assert_eq!((sent.reach.terminals, sent.reach.on_now, sent.due_ms), (1, 1, None));
    first.until_told(&["message Closed on Monday"]).await;
    let event = first.events().into_iter().find(|event| event.name == "message").unwrap();
    assert_eq!(event.data["text"], "Line one\nline <b>two</b>");
    assert_eq!(
        (event.data["must_confirm"].as_bool(), event.data["category"].as_str()),
        (Some(true), Some("announcement"))
    );

    for _ in 0..3 {
        assert_eq!(one.receive(&[&sent.id], false).await, 204);
    }
    scene.has_receipts(&sent.id, 1, 0).await;
    for _ in 0..3 {
        assert_eq!(one.receive(&[&sent.id, &sent.id], true).await, 204);
        assert_eq!(one.receive(&[&sent.id], false).await, 204);
    }
    scene.has_receipts(&sent.id, 1, 1).await;
    // Another shop's: it sees nothing of it, and its word does not count.
    assert_eq!(two.receive(&[&sent.id, "nothing"], true).await, 204);
    scene.send("For all").await;
    second.until_told(&["message For all"]).await;
    scene.has_receipts(&sent.id, 1, 1).await;
    let (_, history) = two.get("/terminal/history").await;
    assert_eq!(history["messages"].as_array().unwrap().len(), 1, "{history}");
    let (_, history) = one.get("/terminal/history?q=MONDAY").await;
    assert_eq!(history["messages"].as_array().unwrap().len(), 1, "{history}");
    assert!(history["messages"][0]["confirmed_at"].is_string(), "{history}");
}
