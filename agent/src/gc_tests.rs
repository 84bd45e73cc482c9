use std::fs;

use super::*;
use crate::work_dir::WorkDir;

fn key(id: &str) -> TaskKey {
    TaskKey::new("F1-1".parse().expect("a good id"), id.parse().expect("a good name"))
}

#[test]
fn an_old_sandbox_of_a_task_that_is_over_is_removed_and_no_other() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let layout = WorkDir::open(folder.path()).expect("it is free").layout();
    for id in ["old", "known"] {
        fs::create_dir_all(layout.sandbox(&key(id))).expect("it can be made");
    }
    let known = BTreeSet::from([key("known")]);
    let (now, later) = (SystemTime::now(), SystemTime::now() + Duration::from_secs(2));
    remove_older(&layout, &Quotas::default(), &known, later, Duration::from_secs(3600));
    assert!(layout.sandbox(&key("old")).exists(), "it is not old enough");
    remove_older(&layout, &Quotas::default(), &known, now - Duration::from_secs(2), Duration::ZERO);
    assert!(
        layout.sandbox(&key("old")).exists(),
        "it is that of a task that has begun since it was known which there are"
    );
    remove_older(&layout, &Quotas::default(), &known, later, Duration::ZERO);
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
}

#[test]
fn the_fuller_the_disk_the_shorter_sandboxes_are_kept() {
    let week = Duration::from_secs(7 * 24 * 3600);
    assert_eq!(allowed_age(week, 0), week);
    assert_eq!(allowed_age(week, 800), week);
    assert_eq!(allowed_age(week, 875), week / 2);
    assert_eq!(allowed_age(week, 950), Duration::ZERO);
    assert_eq!(allowed_age(week, 1000), Duration::ZERO);
}
