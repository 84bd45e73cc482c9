use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use super::*;
use crate::policy::{JobState, JobSummary, PipelineResult};

/// What was written, for the test to see.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn pipeline(text: &str) -> Pipeline {
    PipelineFile::parse("test.yml", text).unwrap().expand(&Context::default(), &check_device).unwrap()
}

const THREE: &str = "stages: [one, two, three]\na: {stage: one, script: [x]}\nlong-b: {stage: two, needs: [], script: [x], parallel: 2}\n\
    c: {stage: three, needs: ['long-b 2/2'], script: [x]}\nd: {stage: three, script: [x], when: manual}";

fn names(pipeline: &Pipeline) -> Vec<&str> {
    pipeline.jobs.iter().map(|job| job.name.as_str()).collect()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

/// What is printed when `pieces` come in for the first job.
async fn printed(colour: Colour, pieces: &[&[u8]]) -> Vec<u8> {
    let page = Page::default();
    let (printer, writing) = Printer::start(Output { writer: Box::new(page.clone()), colour }, &pipeline(THREE));
    let mut lines = printer.lines(0);
    for piece in pieces {
        lines.push(piece).await;
    }
    lines.end().await;
    printer.note(1, "done").await;
    drop(printer);
    writing.await.unwrap();
    page.bytes()
}

#[tokio::test]
async fn lines_come_whole_and_unchanged_behind_their_jobs_name() {
    let bytes = printed(Colour::No, &[b"o", b"ne\ntwo\xff\xfe\nth", b"", b"ree"]).await;
    assert_eq!(bytes, b"a          | one\na          | two\xff\xfe\na          | three\nlong-b 1/2 | == done\n");
}

#[tokio::test]
async fn a_line_without_end_is_broken() {
    let bytes = printed(Colour::No, &[&vec![b'x'; 200_000]]).await;
    let lines: Vec<usize> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::len).collect();
    let prefix = "a          | ".len();
    assert_eq!(lines[..4], [prefix + 65_536, prefix + 65_536, prefix + 65_536, prefix + 200_000 - 3 * 65_536]);
}

#[tokio::test]
async fn colours_are_for_terminals() {
    let bytes = printed(Colour::Yes, &[b"x\n"]).await;
    assert!(bytes.starts_with(b"\x1b[36ma          |\x1b[0m x\n"), "{:?}", String::from_utf8_lossy(&bytes));
}

#[test]
fn a_chosen_job_brings_what_it_needs() {
    let whole = pipeline(THREE);
    assert_eq!(names(&select::only(whole.clone(), &[]).unwrap()).len(), 5);
    let chosen = select::only(whole.clone(), &words(&["c"])).unwrap();
    assert_eq!(names(&chosen), ["long-b 2/2", "c"]);
    assert_eq!(chosen.jobs[1].needs[0].job, 0);
    let instances = select::only(whole.clone(), &words(&["long-b"])).unwrap();
    assert_eq!(names(&instances), ["long-b 1/2", "long-b 2/2"]);
    assert_eq!(names(&select::only(whole, &words(&["d", "d"])).unwrap()), ["a", "long-b 1/2", "long-b 2/2", "d"]);
}

#[test]
fn jobs_that_are_not_there_are_bad_input() {
    let error = select::only(pipeline(THREE), &words(&["e"])).unwrap_err();
    assert_eq!(error.to_string(), "--job \"e\": expected one of the pipeline's jobs: a, long-b 1/2, long-b 2/2, c, d");
    assert!(error.is_bad_input());
    let error = select::manual(&pipeline(THREE), &words(&["a"])).unwrap_err();
    assert_eq!(error.to_string(), "--play \"a\": expected one of the pipeline's manual jobs: d");
    assert_eq!(select::manual(&pipeline(THREE), &words(&["d"])).unwrap().into_iter().collect::<Vec<_>>(), [4]);
}

#[test]
fn the_summary_is_a_table() {
    let job = |name: &str, state, message: Option<&str>| JobSummary {
        name: name.to_owned(),
        stage: "build".to_owned(),
        state,
        message: message.map(str::to_owned),
        attempts: 1,
        duration: Some(Duration::from_millis(75_250)),
        agent: Some(Arc::from("dev-1")),
        devices: Vec::new(),
        artifacts: None,
    };
    let skipped = JobSummary { attempts: 0, duration: None, agent: None, ..job("later", JobState::Skipped, None) };
    let jobs = vec![job("a", JobState::Passed, None), job("b", JobState::Failed, Some("exit code 3")), skipped];
    let expected = "
JOB    STAGE  STATE                TRIES  TIME        AGENT  DEVICES
a      build  passed               1      1 min 15 s  dev-1  -
b      build  failed: exit code 3  1      1 min 15 s  dev-1  -
later  build  skipped              0      -           -      -

pipeline failed: 1 of 3 jobs passed
";
    assert_eq!(table::table(&Summary { result: PipelineResult::Failed, jobs }), expected);
}

#[tokio::test]
async fn artefacts_are_kept_under_their_jobs_names() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(&folder.path().join("store"), Limits::default()).unwrap();
    let mut writer = store.writer().unwrap();
    writer.write(b"archive").unwrap();
    let artifacts = Some(writer.finish(None).unwrap().digest);
    let job = |name: &str, artifacts| JobSummary {
        name: name.to_owned(),
        stage: "build".to_owned(),
        state: JobState::Passed,
        message: None,
        attempts: 1,
        duration: None,
        agent: None,
        devices: Vec::new(),
        artifacts,
    };
    let jobs = vec![job("build 1/2", artifacts), job("none", None)];
    let kept = folder.path().join("kept/here");
    export(&Summary { result: PipelineResult::Passed, jobs }, &store, &kept).await.unwrap();
    let names: Vec<_> = std::fs::read_dir(&kept).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["build 1-2.tar"]);
    assert_eq!(std::fs::read(kept.join("build 1-2.tar")).unwrap(), b"archive");
}

#[tokio::test]
async fn a_file_that_is_not_there_or_not_text_is_bad_input() {
    let folder = tempfile::tempdir().unwrap();
    let missing = RunOptions::new(folder.path().join("none.yml"));
    std::fs::write(folder.path().join("bytes.yml"), b"\xff").unwrap();
    let bytes = RunOptions::new(folder.path().join("bytes.yml"));
    let status = std::process::Command::new("git").arg("init").arg("--quiet").arg(folder.path()).status().unwrap();
    assert!(status.success());
    let commit = ["-c", "user.name=T", "-c", "user.email=t@x", "commit", "--quiet", "--allow-empty", "-m", "x"];
    let status = std::process::Command::new("git").arg("-C").arg(folder.path()).args(commit).status().unwrap();
    assert!(status.success());
    for mut options in [missing, bytes] {
        options.repository = folder.path().to_str().unwrap().to_owned();
        assert!(plan(&options).await.unwrap_err().is_bad_input());
    }
}
