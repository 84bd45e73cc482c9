use std::fs;

use super::*;
use crate::work_dir::WorkDir;

fn key(id: &str) -> TaskKey {
    TaskKey::new("F1-1".parse().expect("a good id"), id.parse().expect("a good name"))
}

#[tokio::test]
async fn an_old_sandbox_of_a_task_that_is_over_is_removed_and_no_other() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let layout = WorkDir::open(folder.path()).expect("it is free").layout();
    for id in ["old", "known"] {
        fs::create_dir_all(layout.sandbox(&key(id))).expect("it can be made");
    }
    let known = BTreeSet::from([key("known")]);
    collect(layout.clone(), known.clone(), Duration::from_secs(3600)).await;
    assert!(layout.sandbox(&key("old")).exists(), "it is not old enough");
    collect(layout.clone(), known, Duration::ZERO).await;
    assert!(!layout.sandbox(&key("old")).exists());
    assert!(layout.sandbox(&key("known")).exists());
}

#[tokio::test]
async fn a_supervisors_folder_that_the_journal_does_not_know_is_removed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let layout = WorkDir::open(folder.path()).expect("it is free").layout();
    for id in ["stray", "known"] {
        fs::create_dir_all(layout.run(&key(id))).expect("it can be made");
    }
    remove_strays(vec![layout.run(&key("stray"))]).await;
    assert_eq!(layout.runs().expect("it can be read"), [key("known")]);
    remove_run(layout.run(&key("known"))).await;
    remove_run(layout.run(&key("known"))).await;
    assert!(layout.runs().expect("it can be read").is_empty());
}
