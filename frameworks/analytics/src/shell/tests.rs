#![expect(clippy::disallowed_methods, reason = "the job files to be read are written here")]

use super::*;

/// What becomes of a job file when no master is there.
async fn run(text: &str) -> JobError {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("job.toml");
    fs::write(&file, text).unwrap();
    let options = JobOptions::new(Access::new("127.0.0.1:1").unwrap(), file);
    run_job(options, |_| (), std::future::pending()).await.unwrap_err()
}

#[tokio::test]
async fn a_bad_file_is_refused_before_the_master_is_asked() {
    let error = run("name = 'j'\n[[stage]]\n").await;
    assert!(matches!(error, JobError::Spec(_)), "{error}");
    let good = "name = 'j'\n[[stage]]\nname = 's'\nfiles = 'a'\ncommand = 'c'\n[result]\nstage = 's'\nto = 'x'\n";
    let error = run(good).await;
    assert!(matches!(&error, JobError::Master(_)), "{error}");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    let options = JobOptions::new(Access::new("127.0.0.1:1").unwrap(), PathBuf::from("/nowhere/job.toml"));
    let error = run_job(options, |_| (), std::future::pending()).await.unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/job.toml: "), "{error}");
}

#[test]
fn a_result_is_there_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let store = BlobStore::open(&dir.path().join("store"), Limits::default()).unwrap();
    let blob = |text: &str| {
        let mut writer = store.writer().unwrap();
        writer.write(text.as_bytes()).unwrap();
        writer.finish(None).unwrap().digest
    };
    let path = dir.path().join("deep/result.csv");
    assert_eq!(write_result(&store, &[blob("a\n"), blob("b\n")], &path).unwrap(), 4);
    assert_eq!(fs::read_to_string(&path).unwrap(), "a\nb\n");
    write_result(&store, &[blob("c\n"), Digest::of(b"missing")], &path).unwrap_err();
    assert_eq!(fs::read_to_string(&path).unwrap(), "a\nb\n");
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn a_store_that_remote_agents_cannot_reach_is_warned_of() {
    assert!(unreachable_store("http://10.0.0.1:7070", "http://127.0.0.1:4000").is_some());
    assert!(unreachable_store("http://127.0.0.1:7070", "http://127.0.0.1:4000").is_none());
    assert!(unreachable_store("http://10.0.0.1:7070", "http://10.0.0.2:4000").is_none());
}

#[test]
fn progress_is_one_line() {
    let progress = Progress { stage: Arc::from("map"), total: 8, done: 5, running: 3 };
    assert_eq!(JobLine::Progress(progress).to_string(), "stage map  5/8 done, 3 running");
    let planned = JobLine::Planned(vec![(Arc::from("map"), 8), (Arc::from("reduce"), 1)]);
    assert_eq!(planned.to_string(), "planned: map (8), reduce (1)");
}
