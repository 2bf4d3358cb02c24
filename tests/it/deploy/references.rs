//! Whether the Terraform files fit together, which `terraform validate` would tell where the provider can be had: every variable,
//! local value, resource and output that is used is declared, every argument of a module is a variable of it, every
//! required one is given, and every file and value of a template exists.

use std::collections::BTreeSet;

use super::files::{Files, SHARED};

const FOLDERS: [&str; 3] = ["gcp", "gcp/autoscaling", SHARED];

/// The text without comments and without what people read.
fn code(text: &str) -> String {
    let told =
        |line: &&str| !["#", "description", "error_message"].iter().any(|word| line.trim_start().starts_with(word));
    text.lines().filter(told).collect::<Vec<_>>().join("\n")
}

fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-.".contains(c)
}

/// Every dotted name in the text, such as `var.region` or `google_compute_network.network.id`.
fn names(text: &str) -> BTreeSet<Vec<String>> {
    text.split(|c: char| !is_part(c))
        .filter(|word| word.contains('.') && word.starts_with(|c: char| c.is_ascii_lowercase()))
        .map(|word| word.trim_matches('.').split('.').map(str::to_owned).collect())
        .collect()
}

fn labels(files: &Files, folder: &str, kind: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, body) in files.terraform(folder) {
        for block in body.blocks().filter(|block| block.identifier() == kind) {
            let labels: Vec<_> = block.labels().iter().map(hcl::BlockLabel::as_str).collect();
            if kind == "locals" {
                found.extend(block.body().attributes().map(|one| one.key().to_owned()));
            } else {
                assert!(found.insert(labels.join(".")), "{folder}: {kind} {labels:?} is declared twice");
            }
        }
    }
    found
}

fn complaints(files: &Files) -> Vec<String> {
    let mut all = Vec::new();
    for folder in FOLDERS {
        declared(files, folder, &mut all);
        templates(files, folder, &mut all);
        if folder != SHARED {
            module(files, folder, &mut all);
        }
    }
    all
}

fn declared(files: &Files, folder: &str, all: &mut Vec<String>) {
    let (variables, locals) = (labels(files, folder, "variable"), labels(files, folder, "locals"));
    let (resources, outputs) = (labels(files, folder, "resource"), labels(files, SHARED, "output"));
    let mut used = BTreeSet::new();
    for (path, _) in files.terraform(folder) {
        for name in names(&code(files.text(path))) {
            let two = || name[..2].join(".");
            let missing = match name[0].as_str() {
                "var" => {
                    used.insert(name[1].clone());
                    !variables.contains(&name[1])
                }
                "local" => !locals.contains(&name[1]),
                "module" => name[1] != "shared" || name.len() < 3 || !outputs.contains(&name[2]),
                kind if kind.starts_with("google_") => !resources.contains(&two()),
                _ => false,
            };
            if missing {
                all.push(format!("deploy/{path} uses {}, which nothing declares", name.join(".")));
            }
        }
    }
    for unused in variables.difference(&used) {
        all.push(format!("deploy/{folder}/variables.tf declares {unused}, which nothing uses"));
    }
}

fn module(files: &Files, folder: &str, all: &mut Vec<String>) {
    let place = format!("deploy/{folder}/main.tf: module shared");
    let block = files.block(folder, &["module", "shared"]).expect("both variants use the shared module");
    let given: BTreeSet<_> =
        block.body().attributes().map(|one| one.key().to_owned()).filter(|key| key != "source").collect();
    let known = labels(files, SHARED, "variable");
    all.extend(given.difference(&known).map(|name| format!("{place} gives {name}, which it does not take")));
    for name in &known {
        let variable = files.block(SHARED, &["variable", name]).unwrap();
        let optional = variable.body().attributes().any(|one| one.key() == "default");
        if !optional && !given.contains(name) {
            all.push(format!("{place} does not give {name}"));
        }
    }
    let source = block.body().attributes().find(|one| one.key() == "source").unwrap().expr().to_string();
    let there = match (folder, source.trim_matches('"')) {
        ("gcp", source) => source == "./shared",
        (_, source) => source == "../shared",
    };
    if !there {
        all.push(format!("{place} has the source {source}, where nothing is"));
    }
}

/// `file(…)` and `templatefile(…, {…})`: the file is there, and takes exactly the values that it is given.
fn templates(files: &Files, folder: &str, all: &mut Vec<String>) {
    for (path, _) in files.terraform(folder) {
        let text = code(files.text(path));
        for call in ["file(\"${path.module}/", "templatefile(\"${path.module}/"] {
            for (at, _) in text.match_indices(call) {
                let rest = &text[at + call.len()..];
                let (name, rest) = rest.split_once('"').unwrap();
                let mut target: Vec<&str> = folder.split('/').collect();
                for part in name.split('/') {
                    if part == ".." { target.pop().map_or((), |_| ()) } else { target.push(part) }
                }
                let target = target.join("/");
                if !files.has(&target) {
                    all.push(format!("deploy/{path} reads {name}, which is not there"));
                } else if call.starts_with("template") {
                    let (values, _) = rest.split_once("})").unwrap();
                    let given: BTreeSet<_> = values
                        .lines()
                        .filter_map(|line| line.split_once(" = ").or_else(|| line.split_once("= ")))
                        .map(|(name, _)| name.trim().to_owned())
                        .collect();
                    let script = files.text(&target).replace("$${", "");
                    let wanted: BTreeSet<_> = script
                        .split("${")
                        .skip(1)
                        .map(|rest| rest.split('}').next().unwrap().trim().to_owned())
                        .collect();
                    all.extend(given.difference(&wanted).map(|one| format!("deploy/{target} does not use {one}")));
                    all.extend(
                        wanted.difference(&given).map(|one| format!("deploy/{path} does not give {one} to {target}")),
                    );
                }
            }
        }
    }
}

#[test]
fn whatever_the_terraform_files_refer_to_is_there() {
    let found = complaints(&Files::read());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn each_loose_end_is_named() {
    let files = Files::read();
    for (path, right, wrong, sentence) in [
        ("gcp/nodes.tf", "var.node_machine", "var.machine", "gcp/nodes.tf uses var.machine"),
        ("gcp/nodes.tf", "var.node_machine", "\"e2-small\"", "gcp/variables.tf declares node_machine"),
        ("gcp/nodes.tf", "module.shared.node_tag", "module.shared.tag", "gcp/nodes.tf uses module.shared.tag"),
        ("gcp/main.tf", "  domain          = var.domain\n", "", "module shared does not give domain"),
        ("gcp/main.tf", "= \"./shared\"", "= \"./modules\"", "has the source"),
        (
            "gcp/shared/redis.tf",
            "google_compute_disk.redis.id",
            "google_compute_disk.data.id",
            "uses google_compute_disk.data.id",
        ),
        ("gcp/shared/redis.tf", "local.redis_disk", "local.disk", "uses local.disk"),
        ("gcp/shared/node.tf", "../../tidegate.service", "../tidegate.service", "reads ../tidegate.service"),
        ("gcp/shared/node.tf", "admin_token    =", "token =", "does not give admin_token"),
    ] {
        let found = complaints(&files.with(path, right, wrong)).join("\n");
        assert!(found.contains(sentence), "deploy/{path} with `{wrong}`: expected `{sentence}` in: {found}");
    }
}
