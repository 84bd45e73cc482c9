use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use tokio::sync::mpsc;

use super::*;

struct Bench {
    dir: TempDir,
    store: Arc<BlobStore>,
    server: BlobServer,
    reports: mpsc::Receiver<Report>,
    key: TokenKey,
}

impl Bench {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { blob: 1 << 20, total: 2 << 20 };
        let store = Arc::new(BlobStore::open(&dir.path().join("store"), limits).unwrap());
        let (sender, reports) = mpsc::channel(4);
        let server = BlobServer::start(&ServeOptions::default(), store.clone(), sender).await.unwrap();
        Self { dir, store, server, reports, key: TokenKey::from_bytes(&[7; 32]) }
    }

    fn put(&self, bytes: &[u8]) -> Digest {
        let mut writer = self.store.writer().unwrap();
        writer.write(bytes).unwrap();
        writer.finish(None).unwrap().digest
    }

    fn client(&self, task: &str, manifest: Manifest) -> BlobClient {
        let token = self.key.token(task);
        self.server.grants().grant(&token, Grant { task: task.to_owned(), manifest, upload_limit: 1 << 20 });
        BlobClient::new(self.server.url(), token.as_str())
    }

    fn file(&self, name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

fn input(digest: Digest, path: &str, unpack: Unpack) -> Input {
    Input { digest, path: path.to_owned(), unpack }
}

fn output(name: &str, path: &str, pack: Pack) -> OutputSpec {
    let paths = vec![path.to_owned()];
    OutputSpec { name: name.to_owned(), paths, exclude: Vec::new(), pack, upload: Upload::OnSuccess, required: true }
}

fn status(error: &ClientError) -> u16 {
    match error {
        ClientError::Refused { status, .. } => status.as_u16(),
        other => panic!("expected a refusal, got {other}"),
    }
}

#[test]
fn digests_are_read_back_as_they_are_written() {
    let digest = Digest::of(b"abc");
    assert_eq!(digest.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(digest.to_string().parse(), Ok(digest));
    assert!("BA78".parse::<Digest>().is_err());
    assert!("ä".repeat(32).parse::<Digest>().is_err());
}

#[tokio::test]
async fn a_token_gets_the_inputs_of_its_task_and_no_others() {
    let bench = Bench::start().await;
    let (mine, other) = (bench.put(b"mine"), bench.put(b"other"));
    let client = bench.client("t1", Manifest { inputs: vec![input(mine, "in", Unpack::None)], outputs: Vec::new() });
    let path = bench.dir.path().join("got");

    client.fetch(mine, &path).await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    assert_eq!(status(&client.fetch(other, &path).await.unwrap_err()), 403);

    bench.server.grants().revoke(&bench.key.token("t1"));
    assert_eq!(status(&client.fetch(mine, &path).await.unwrap_err()), 401);
}

#[tokio::test]
async fn an_upload_must_have_the_digest_that_it_announces() {
    let bench = Bench::start().await;
    let client = bench.client("t1", Manifest::default());
    let path = bench.file("out", b"data");
    assert_eq!(status(&client.put(Digest::of(b"else"), &path).await.unwrap_err()), 422);
    assert_eq!(bench.store.path(Digest::of(b"else")), None);
    client.put(Digest::of(b"data"), &path).await.unwrap();
    client.put(Digest::of(b"data"), &path).await.unwrap();
    assert_eq!(fs::read(bench.store.path(Digest::of(b"data")).unwrap()).unwrap(), b"data");
}

#[tokio::test]
async fn uploads_are_bounded() {
    let bench = Bench::start().await;
    let client = bench.client("t1", Manifest::default());
    let large = vec![1; (1 << 20) + 1];
    let path = bench.file("large", &large);
    let error = client.put(Digest::of(&large), &path).await.unwrap_err();
    // The server may refuse and close before all is sent.
    assert!(matches!(error, ClientError::Refused { .. } | ClientError::Unreachable { .. }), "{error}");
    assert_eq!(bench.store.path(Digest::of(&large)), None);
}

#[tokio::test]
async fn a_report_names_only_what_was_uploaded() {
    let mut bench = Bench::start().await;
    let manifest = Manifest { inputs: Vec::new(), outputs: vec![output("result", "out", Pack::File)] };
    let client = bench.client("t1", manifest);
    let digest = Digest::of(b"data");
    let claimed = Output { name: "result".to_owned(), digest, bytes: 4, pack: Pack::File };
    assert_eq!(status(&client.report(std::slice::from_ref(&claimed)).await.unwrap_err()), 422);

    client.put(digest, &bench.file("out", b"data")).await.unwrap();
    client.report(std::slice::from_ref(&claimed)).await.unwrap();
    assert_eq!(bench.reports.recv().await, Some(Report { task: "t1".to_owned(), outputs: vec![claimed] }));
}

#[test]
fn a_store_keeps_its_blobs_and_drops_what_was_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let store = BlobStore::open(dir.path(), Limits::default()).unwrap();
    let mut writer = store.writer().unwrap();
    writer.write(b"kept").unwrap();
    let kept = writer.finish(None).unwrap();
    fs::write(dir.path().join("incoming/rest"), b"half").unwrap();

    let store = BlobStore::open(dir.path(), Limits { blob: 10, total: 6 }).unwrap();
    assert!(store.path(kept.digest).is_some());
    assert_eq!(fs::read_dir(dir.path().join("incoming")).unwrap().count(), 0);
    let mut writer = store.writer().unwrap();
    assert!(matches!(writer.write(b"new"), Err(StoreError::Full(6))));
}

#[test]
fn what_is_packed_is_unpacked() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for path in ["a/one.txt", "a/b/two.txt", "a/skip.log", "c.txt"] {
        let path = from.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, path.to_string_lossy().as_bytes()).unwrap();
    }
    std::os::unix::fs::symlink("one.txt", from.path().join("a/link")).unwrap();
    let mut spec = output("all", "a/", Pack::Tar);
    spec.exclude = vec!["**/*.log".to_owned()];

    let files = pack::select(from.path(), &spec).unwrap();
    let names: Vec<&str> = files.iter().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(names, ["a/b/two.txt", "a/link", "a/one.txt"]);

    let archive = tempfile::NamedTempFile::new().unwrap();
    pack::pack(from.path(), &files, archive.as_file()).unwrap();
    pack::unpack(archive.path(), to.path(), 1 << 20).unwrap();
    assert_eq!(fs::read_link(to.path().join("a/link")).unwrap(), Path::new("one.txt"));
    assert!(to.path().join("a/b/two.txt").is_file());
    assert!(matches!(pack::unpack(archive.path(), to.path(), 3), Err(PackError::TooLarge(3))));
}

#[test]
fn an_archive_that_leaves_its_directory_is_refused() {
    for (path, link) in [("../evil", None), ("/evil", None), ("in/link", Some("../../evil")), ("link", Some("/etc"))] {
        let dir = tempfile::tempdir().unwrap();
        let archive = tempfile::NamedTempFile::new().unwrap();
        write_archive(archive.as_file(), path, link);
        let error = pack::unpack(archive.path(), &dir.path().join("to"), 1 << 20).unwrap_err();
        assert!(matches!(error, PackError::Entry(_)), "{path}: {error}");
        assert!(!dir.path().join("evil").exists());
    }
}

/// The tar crate refuses to write such names, so the header is written by hand.
fn write_archive(file: &fs::File, path: &str, link: Option<&str>) {
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
    header.set_size(0);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    if let Some(link) = link {
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_link_name_literal(link).unwrap();
    }
    header.set_cksum();
    let mut builder = tar::Builder::new(file);
    builder.append(&header, std::io::empty()).unwrap();
    builder.finish().unwrap();
}

#[test]
fn a_manifest_with_a_path_that_leaves_is_refused() {
    for path in ["../up", "/abs", "", "a/../../b"] {
        let manifest = Manifest { inputs: vec![input(Digest::of(b""), path, Unpack::None)], outputs: Vec::new() };
        assert!(manifest.check().is_err(), "{path:?} must be refused");
    }
}

#[test]
fn the_wrapper_ends_with_usage_when_started_by_a_person() {
    assert_eq!(task_io::main([OsString::from("--"), OsString::from("true")]), task_io::USAGE);
}

#[test]
fn a_wrapped_command_keeps_its_quotes() {
    assert_eq!(task_io::wrap("echo 'a'"), r#"exec "${RIALTO_EXE:-rialto}" task-io -- /bin/sh -c 'echo '\''a'\'''"#);
}

/// Runs a shell line as a task of `bench` would; returns its exit code.
async fn run_task(bench: &Bench, dir: &Path, manifest: Manifest, line: &str) -> i32 {
    let client = bench.client("t1", manifest);
    let command: Vec<OsString> = ["/bin/sh", "-c", line].into_iter().map(OsString::from).collect();
    task_io::run(&client, &command, dir).await
}

#[tokio::test]
async fn a_task_gets_its_inputs_and_its_outputs_arrive() {
    let mut bench = Bench::start().await;
    let dir = tempfile::tempdir().unwrap();
    let inputs =
        vec![input(bench.put(b"hello "), "input/a", Unpack::None), input(bench.put(b"world"), "input/b", Unpack::None)];
    let outputs = vec![output("sum", "out/sum", Pack::File), output("logs", "logs/**/*.txt", Pack::Tar)];
    let line = "cat input/* > out/sum && mkdir -p logs/x && echo 1 > logs/x/1.txt && echo 2 > logs/2.log";
    assert_eq!(run_task(&bench, dir.path(), Manifest { inputs, outputs }, line).await, 0);
    let report = bench.reports.recv().await.unwrap();
    let names: Vec<&str> = report.outputs.iter().map(|output| output.name.as_str()).collect();
    assert_eq!(names, ["sum", "logs"]);
    assert_eq!(report.outputs[0].digest, Digest::of(b"hello world"));

    let next = tempfile::tempdir().unwrap();
    let inputs = vec![input(report.outputs[1].digest, ".", Unpack::Tar)];
    let line = "test -f logs/x/1.txt && test ! -e logs/2.log";
    assert_eq!(run_task(&bench, next.path(), Manifest { inputs, outputs: Vec::new() }, line).await, 0);
}

#[tokio::test]
async fn a_failed_command_keeps_its_code_and_uploads_what_is_for_failures() {
    let mut bench = Bench::start().await;
    let dir = tempfile::tempdir().unwrap();
    let always = OutputSpec { upload: Upload::OnFailure, ..output("why", "why", Pack::File) };
    let manifest = Manifest { inputs: Vec::new(), outputs: vec![output("never", "never", Pack::File), always] };
    assert_eq!(run_task(&bench, dir.path(), manifest, "echo broken > why; exit 3").await, 3);
    assert_eq!(bench.reports.recv().await.unwrap().outputs[0].name, "why");
}

#[tokio::test]
async fn a_required_output_that_is_missing_fails_the_task() {
    let bench = Bench::start().await;
    let dir = tempfile::tempdir().unwrap();
    let manifest = Manifest { inputs: Vec::new(), outputs: vec![output("result", "out", Pack::File)] };
    assert_eq!(run_task(&bench, dir.path(), manifest, "true").await, task_io::UPLOAD_FAILED);
}

#[tokio::test]
async fn a_task_does_not_start_without_its_inputs() {
    let bench = Bench::start().await;
    let dir = tempfile::tempdir().unwrap();
    let manifest = Manifest { inputs: vec![input(Digest::of(b"gone"), "in", Unpack::None)], outputs: Vec::new() };
    assert_eq!(run_task(&bench, dir.path(), manifest, "touch started").await, task_io::FETCH_FAILED);
    assert!(!dir.path().join("started").exists());
}

#[tokio::test]
async fn a_death_by_signal_is_told_as_shells_do() {
    let bench = Bench::start().await;
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run_task(&bench, dir.path(), Manifest::default(), "kill -9 $$").await, 137);
}
