//! The files of `deploy/` as texts, and questions to them: a directive of HAProxy's file, a setting of the unit, an
//! attribute of a Terraform resource with its variables followed to their defaults.

use std::{collections::BTreeMap, path::Path, str::FromStr as _, time::Duration};

use hcl::eval::Evaluate as _;

pub(super) const HAPROXY: &str = "haproxy.cfg";
pub(super) const UNIT: &str = "tidegate.service";
pub(super) const SHARED: &str = "gcp/shared";

/// Every file under `deploy/`, by its path there.
#[derive(Clone)]
pub(super) struct Files(BTreeMap<String, String>);

impl Files {
    pub(super) fn read() -> Self {
        let mut files = BTreeMap::new();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    // What `terraform init` leaves behind is not ours.
                    folders.extend((!path.ends_with(".terraform")).then_some(path));
                } else if let Ok(text) = std::fs::read_to_string(&path) {
                    files.insert(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(), text);
                }
            }
        }
        Self(files)
    }

    pub(super) fn text(&self, path: &str) -> &str {
        self.0.get(path).map_or("", String::as_str)
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// The same with one mistake in it.
    pub(super) fn with(&self, path: &str, right: &str, wrong: &str) -> Self {
        let mut files = self.clone();
        let text = files.0.get_mut(path).unwrap_or_else(|| panic!("there is no deploy/{path}"));
        assert!(text.contains(right), "deploy/{path} does not have `{right}`");
        *text = text.replacen(right, wrong, 1);
        files
    }

    /// The Terraform files of a folder, parsed.
    pub(super) fn terraform(&self, folder: &str) -> Vec<(&str, hcl::Body)> {
        let prefix = format!("{folder}/");
        let here =
            |path: &str| path.strip_prefix(&prefix).is_some_and(|rest| rest.ends_with(".tf") && !rest.contains('/'));
        self.0
            .iter()
            .filter(|(path, _)| here(path))
            .map(|(path, text)| {
                (path.as_str(), hcl::parse(text).unwrap_or_else(|error| panic!("deploy/{path}: {error}")))
            })
            .collect()
    }

    /// Blocks such as `["resource", "google_compute_firewall", "redis"]` of a folder.
    pub(super) fn block(&self, folder: &str, name: &[&str]) -> Option<hcl::Block> {
        self.terraform(folder).into_iter().flat_map(|(_, body)| body.into_blocks().collect::<Vec<_>>()).find(|block| {
            block.identifier() == name[0]
                && block.labels().iter().map(hcl::BlockLabel::as_str).eq(name[1..].iter().copied())
        })
    }

    /// An attribute of a resource (`http_health_check.port`), as it is written, but with variables replaced by their defaults
    /// and the shared module's outputs by their values; empty where it is not there.
    pub(super) fn attribute(&self, folder: &str, resource: (&str, &str), path: &str) -> String {
        let Some(block) = self.block(folder, &["resource", resource.0, resource.1]) else { return String::new() };
        let (blocks, name) =
            path.rsplit_once('.').map_or((vec![], path), |(blocks, name)| (blocks.split('.').collect(), name));
        let mut body = block.body();
        for wanted in blocks {
            let Some(next) = body.blocks().find(|block| block.identifier() == wanted) else { return String::new() };
            body = next.body();
        }
        let Some(attribute) = body.attributes().find(|attribute| attribute.key() == name) else { return String::new() };
        self.follow(folder, &hcl::format::to_string(attribute.expr()).unwrap())
    }

    fn follow(&self, folder: &str, text: &str) -> String {
        let text = text.trim().trim_matches('"');
        let of = |folder: &str, block: &[&str], attribute: &str| {
            let block = self.block(folder, block)?;
            let attribute = block.body().attributes().find(|one| one.key() == attribute)?;
            Some(self.follow(folder, &hcl::format::to_string(attribute.expr()).unwrap()))
        };
        let followed = if let Some(name) = text.strip_prefix("var.") {
            of(folder, &["variable", name], "default")
        } else if let Some(name) = text.strip_prefix("module.shared.") {
            of(SHARED, &["output", name], "value")
        } else if let Some(name) = text.strip_prefix("local.") {
            of(folder, &["locals"], name)
        } else {
            None
        };
        followed.unwrap_or_else(|| text.to_owned())
    }

    /// The same as a number.
    pub(super) fn number(&self, folder: &str, resource: (&str, &str), path: &str) -> Option<u64> {
        self.attribute(folder, resource, path).parse().ok()
    }

    /// A template of a start-up script, filled in.
    pub(super) fn render(&self, path: &str, values: &[(&str, &str)]) -> String {
        let mut context = hcl::eval::Context::new();
        for (name, value) in values {
            context.declare_var(*name, *value);
        }
        let template =
            hcl::Template::from_str(self.text(path)).unwrap_or_else(|error| panic!("deploy/{path}: {error}"));
        template.evaluate(&context).unwrap_or_else(|error| panic!("deploy/{path}: {error}"))
    }

    /// What follows a directive in a section of HAProxy's file, environment variables at their defaults; empty where it is
    /// not there.
    pub(super) fn haproxy(&self, section: &str, directive: &str) -> String {
        let mut here = false;
        for line in self.text(HAPROXY).lines() {
            if !line.starts_with([' ', '#', '.']) && !line.is_empty() {
                here = line.trim() == section;
            } else if here
                && let Some(rest) = line.trim().strip_prefix(directive)
                && (rest.is_empty() || rest.starts_with(' '))
            {
                return defaults(rest.trim());
            }
        }
        String::new()
    }

    /// The value of a word in such a directive: `inter` of `default-server check inter 5s`.
    pub(super) fn haproxy_word(&self, section: &str, directive: &str, word: &str) -> String {
        let line = self.haproxy(section, directive);
        let mut words = line.split_whitespace();
        words.find(|one| *one == word).and(words.next()).unwrap_or_default().to_owned()
    }

    /// Every value of a setting of the unit, in order.
    pub(super) fn unit(&self, section: &str, setting: &str) -> Vec<&str> {
        let mut here = false;
        let mut values = Vec::new();
        for line in self.text(UNIT).lines() {
            if line.starts_with('[') {
                here = line == format!("[{section}]");
            } else if here
                && let Some((name, value)) = line.split_once('=')
                && name == setting
            {
                values.push(value);
            }
        }
        values
    }

    /// A time of the unit, in seconds.
    pub(super) fn unit_seconds(&self, setting: &str) -> Option<Duration> {
        self.unit("Service", setting).last()?.parse().ok().map(Duration::from_secs)
    }

    /// What the unit sets in the node's environment.
    pub(super) fn unit_environment(&self) -> BTreeMap<String, String> {
        let pair = |text: &str| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.unit("Service", "Environment").into_iter().filter_map(pair).collect()
    }
}

/// `"${NAME-default}"` becomes `default`.
fn defaults(text: &str) -> String {
    let mut rest = text;
    let mut made = String::new();
    while let Some((before, after)) = rest.split_once("\"${") {
        made += before;
        let Some((inside, behind)) = after.split_once("}\"") else { break };
        made += inside.split_once('-').map_or("", |(_, default)| default);
        rest = behind;
    }
    made + rest
}

/// A time as HAProxy writes it.
pub(super) fn haproxy_time(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
}
