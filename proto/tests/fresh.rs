//! The generated code is committed, so that nobody needs a protocol compiler to build; this test keeps it true to the `.proto` files.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// No such program: whoever asked for a protocol compiler would fail.
const NO_PROTOC: &str = "/nonexistent/protoc";

const SOURCES: [&str; 8] = [
    "rialto/v1/common.proto",
    "rialto/v1/scheduler.proto",
    "rialto/v1/agent.proto",
    "rialto/v1/operator.proto",
    "rialto/v1/task.proto",
    "registry/v1/registry.proto",
    "journal/v1/journal.proto",
    "device/v1/plugin.proto",
];

#[test]
fn generated_code_is_fresh() {
    if env::var("PROTOC").as_deref() != Ok(NO_PROTOC) {
        return run_again_without_protoc();
    }
    let fresh = tempfile::tempdir().expect("a temporary folder");
    generate(fresh.path());
    let committed = root().join("src/gen");
    if env::var_os("UPDATE_GENERATED").is_some() {
        copy_all(fresh.path(), &committed);
    }
    assert_eq!(names(fresh.path()), names(&committed), "{HINT}");
    for name in names(fresh.path()) {
        let same = fs::read(fresh.path().join(&name)).expect("just generated")
            == fs::read(committed.join(&name)).expect("listed");
        assert!(same, "src/gen/{name} is stale: {HINT}");
    }
}

const HINT: &str = "run UPDATE_GENERATED=1 cargo test -p rialto-proto --test fresh";

fn run_again_without_protoc() {
    let this = env::current_exe().expect("the path of this test");
    let status = Command::new(this)
        .args(["--exact", "generated_code_is_fresh", "--nocapture"])
        .env("PROTOC", NO_PROTOC)
        .status();
    assert!(status.expect("this test can be started again").success(), "see above");
}

fn generate(out: &Path) {
    let descriptors = protox::compile(SOURCES, [root()]).expect("the .proto files compile");
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        .build_transport(false)
        .bytes(".")
        .btree_map(".")
        .out_dir(out)
        .compile_fds(descriptors)
        .expect("code can be generated");
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("src/gen can be made");
    for name in names(from) {
        fs::copy(from.join(&name), to.join(&name)).expect("src/gen can be written");
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder can be read");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("an ASCII name")).collect();
    names.sort();
    names
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
