//! Rules of the tree that no compiler checks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Which package of ours may depend on which: the table in docs/architecture.md.
const EDGES: [(&str, &[&str]); 10] = [
    ("rialto-core", &[]),
    ("rialto-proto", &["rialto-core"]),
    ("rialto-master", &["rialto-core", "rialto-proto"]),
    ("rialto-agent", &["rialto-core", "rialto-proto"]),
    ("rialto-sdk", &["rialto-core", "rialto-proto"]),
    ("rialto-ci", &["rialto-sdk"]),
    ("rialto-analytics", &["rialto-sdk"]),
    ("rialto-web", &["rialto-sdk"]),
    ("rialto-sim", &["rialto-core", "rialto-sdk", "rialto-ci", "rialto-analytics", "rialto-web"]),
    (
        "rialto",
        &[
            "rialto-core",
            "rialto-proto",
            "rialto-master",
            "rialto-agent",
            "rialto-sdk",
            "rialto-ci",
            "rialto-analytics",
            "rialto-web",
            "rialto-sim",
        ],
    ),
];

/// Everything that the core is built from.
const CORE_CLOSURE: [&str; 18] = [
    "aho-corasick",
    "equivalent",
    "hashbrown",
    "indexmap",
    "memchr",
    "proc-macro2",
    "quote",
    "rand_core",
    "rand_pcg",
    "regex",
    "regex-automata",
    "regex-syntax",
    "rustc-hash",
    "smallvec",
    "syn",
    "thiserror",
    "thiserror-impl",
    "unicode-ident",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What is built here; packages of other platforms need not be there.
fn metadata() -> Value {
    let platform = format!("--filter-platform={}-unknown-linux-gnu", std::env::consts::ARCH);
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline", &platform])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    serde_json::from_slice(&cargo.stdout).expect("cargo metadata prints JSON")
}

/// The normal dependencies of every package, by id, and the names by id.
fn graph(metadata: &Value) -> (BTreeMap<String, Vec<String>>, BTreeMap<String, String>) {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let list = |value: &Value| value.as_array().expect("a list").clone();
    let names =
        list(&metadata["packages"]).iter().map(|package| (text(&package["id"]), text(&package["name"]))).collect();
    let is_normal = |dependency: &Value| list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
    let nodes = list(&metadata["resolve"]["nodes"]);
    let edges = nodes.iter().map(|node| {
        let normal = list(&node["deps"]).into_iter().filter(is_normal).map(|dependency| text(&dependency["pkg"]));
        (text(&node["id"]), normal.collect())
    });
    (edges.collect(), names)
}

#[test]
fn packages_depend_on_each_other_as_the_architecture_allows() {
    let (edges, names) = graph(&metadata());
    let allowed = BTreeMap::from(EDGES);
    for (id, dependencies) in &edges {
        let name = names[id].as_str();
        let ours = dependencies.iter().map(|id| names[id].as_str()).filter(|name| allowed.contains_key(name));
        let Some(may) = allowed.get(name) else { continue };
        for dependency in ours {
            assert!(may.contains(&dependency), "{name} depends on {dependency}, which the architecture does not allow");
        }
    }
}

#[test]
fn the_core_is_built_from_a_short_written_list() {
    let (edges, names) = graph(&metadata());
    let core = names.iter().find(|(_, name)| *name == "rialto-core").expect("the core is a package").0;
    let (mut closure, mut open) = (BTreeSet::new(), vec![core.clone()]);
    while let Some(id) = open.pop() {
        for dependency in &edges[&id] {
            if closure.insert(names[dependency].clone()) {
                open.push(dependency.clone());
            }
        }
    }
    let written: BTreeSet<String> = CORE_CLOSURE.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(closure, written);
}

/// The Markdown files that a newcomer reads.
fn documents() -> Vec<std::path::PathBuf> {
    let docs = std::fs::read_dir(root().join("docs")).expect("there are docs");
    let mut found: Vec<_> = docs.map(|entry| entry.expect("docs can be listed").path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    found.push(root().join("README.md"));
    found
}

#[test]
fn links_in_the_documents_lead_somewhere() {
    for document in documents() {
        let text = std::fs::read_to_string(&document).expect("a document can be read");
        let folder = document.parent().expect("a document is in a folder");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or("");
            if path.is_empty() || path.contains("://") {
                continue;
            }
            assert!(folder.join(path).exists(), "{}: link to {target}", document.display());
        }
    }
}

#[test]
fn commands_in_the_documents_exist() {
    let binary = env!("CARGO_BIN_EXE_rialto");
    let mut known: BTreeMap<String, bool> = BTreeMap::new();
    for document in documents() {
        let text = std::fs::read_to_string(&document).expect("a document can be read");
        for line in text.lines().map(str::trim).filter_map(|line| line.strip_prefix("rialto ")) {
            let words: Vec<&str> = line
                .split_whitespace()
                .take_while(|word| !word.starts_with('-') && word.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
                .take(2)
                .collect();
            let nested = ["ci", "analytics", "web", "bench", "sim"].contains(words.first().unwrap_or(&""));
            let command = words[..words.len().min(if nested { 2 } else { 1 })].join(" ");
            let exists = *known.entry(command.clone()).or_insert_with(|| {
                let help =
                    Command::new(binary).args(command.split(' ')).arg("--help").output().expect("the binary runs");
                help.status.success()
            });
            assert!(exists, "{}: rialto {command}", document.display());
        }
    }
}

#[test]
fn no_file_is_longer_than_a_thousand_lines() {
    let files = Command::new("git").args(["ls-files", "*.rs"]).current_dir(root()).output();
    let Ok(files) = files else { return eprintln!("skipped: no git") };
    for file in String::from_utf8_lossy(&files.stdout).lines().filter(|file| !file.contains("/gen/")) {
        let Ok(text) = std::fs::read_to_string(root().join(file)) else { continue };
        let lines = text.lines().count();
        assert!(lines <= 1000, "{file} has {lines} lines: is it one story?");
    }
}
