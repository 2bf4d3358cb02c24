//! Names that sound like parts of the console's own addresses: each leads to what it names.

use super::Scene;

#[actix_web::test]
async fn no_name_meets_an_address_of_the_consoles_own() {
    const NAMES: [&str; 5] = ["new", "check", "checks", "letters", "..."];
    let scene = Scene::start(&["olga:admin", "new:viewer"]).await;
    let mut manifest = "[[application]]\nname = \"new\"\ntopics = [\"cars\"]\n".to_owned();
    for name in NAMES {
        let target = scene.installation.sqlite(name).await;
        manifest += &format!(
            "[[destination]]\nname = \"{name}\"\nkind = \"sqlite\"\nurl = \"{}\"\nnode = \"a\"\n[[route]]\nname = \"{name}\"\n\
             application = \"new\"\ntopic = \"cars\"\ndestination = \"{name}\"\ntable = \"cars\"\nkey = [\"id\"]\ncolumns = \"matching\"\n",
            target.url
        );
    }
    scene.installation.apply(&manifest);
    let mut olga = scene.browser_of("olga").await;
    let titled = |body: &str, title: &str| body.contains(&format!("<h1>{title}</h1>"));
    for name in NAMES {
        for path in ["destinations", "tables"] {
            let page = olga.get(&format!("/console/{path}/{name}")).await;
            assert!(page.status == 200 && titled(&page.body, name), "{path}/{name}: {} {}", page.status, page.body);
        }
        for path in [
            format!("destinations/{name}/edit"),
            format!("destinations/{name}/remove"),
            format!("tables/{name}/remove"),
        ] {
            let page = olga.get(&format!("/console/{path}")).await;
            assert!(page.status == 200 && page.body.contains(name), "{path}: {} {}", page.status, page.body);
        }
    }
    for path in ["applications/new", "settings/users/new"] {
        let page = olga.get(&format!("/console/{path}")).await;
        assert!(page.status == 200 && titled(&page.body, "new"), "{path}: {} {}", page.status, page.body);
    }
    let edit = olga.get("/console/tables/new/edit").await;
    assert!(edit.status == 303 && edit.to().starts_with("/console/tables/~new/fields?d="), "{}", edit.to());
    // The console's own, beside them.
    for path in
        ["applications/~new", "destinations/~new", "settings/users/~new", "settings/alerts/~new", "tables/~new/source"]
    {
        let page = olga.get(&format!("/console/{path}")).await;
        assert!(page.status == 200 && page.body.contains("<form"), "{path}: {}", page.status);
    }
    // And nobody can be named like one.
    let csrf = olga.get("/console/applications/~new").await.csrf();
    for name in ["~new", "..", "."] {
        let fields = [("name", name), ("topics", ""), ("records_per_s", "")];
        assert_eq!(olga.post("/console/applications", &csrf, &fields).await.status, 422, "{name}");
        let file = scene.installation.dir.path().join("bad.toml");
        std::fs::write(&file, format!("[[application]]\nname = \"{name}\"\n")).unwrap();
        let refused = scene.installation.command(&["apply", file.to_str().unwrap()]).output().unwrap();
        assert!(
            !refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("cannot be"),
            "{refused:?}"
        );
    }
}
