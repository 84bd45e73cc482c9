use std::fs;

use super::*;

#[test]
fn everything_below_counts_but_nothing_behind_links() {
    let folder = tempfile::tempdir().expect("a folder");
    let outside = tempfile::tempdir().expect("a folder");
    fs::write(outside.path().join("large"), vec![1; 4 << 20]).expect("it can be written");
    let sandbox = folder.path().join("sandbox");
    fs::create_dir_all(sandbox.join("a/b/c")).expect("it can be made");
    fs::write(sandbox.join("a/b/c/file"), vec![1; 1 << 20]).expect("it can be written");
    fs::write(sandbox.join("file"), vec![1; 1 << 20]).expect("it can be written");
    std::os::unix::fs::symlink(outside.path(), sandbox.join("link")).expect("it can be made");
    let taken = measure(&sandbox);
    assert!((2 << 20..3 << 20).contains(&taken), "{taken}");
    assert_eq!(measure(&folder.path().join("none")), 0);
}

#[test]
fn a_file_with_a_hole_counts_as_what_it_takes() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = fs::File::create(folder.path().join("sparse")).expect("it can be made");
    file.set_len(1 << 30).expect("it can be long");
    assert!(measure(folder.path()) < 1 << 20);
}

#[test]
fn the_longer_a_look_takes_the_rarer_it_is() {
    assert_eq!(pause(Duration::from_millis(1)), LOOK_AGAIN);
    assert_eq!(pause(Duration::from_secs(1)), Duration::from_secs(50));
    assert_eq!(pause(Duration::from_secs(60)), LOOK_AGAIN_MAX);
}

#[tokio::test]
async fn a_sandbox_that_grows_too_large_is_told_of_once() {
    let folder = tempfile::tempdir().expect("a folder");
    // One that is not there takes nothing; what is in several counts together.
    let folders = ["a", "b", "none"].map(|name| folder.path().join(name));
    folders[..2].iter().for_each(|folder| fs::create_dir(folder).expect("it can be made"));
    let (first, second) = (folders[0].join("file"), folders[1].join("file"));
    let allowance = Allowance { limit_bytes: 1 << 20, taken: Arc::default() };
    let (sender, mut excesses) = mpsc::channel(1);
    let watched = tokio::spawn(watch(folders.into(), allowance.clone(), 3, Arc::default(), sender));
    fs::write(first, vec![1; 900 << 10]).expect("it can be written");
    fs::write(second, vec![1; 900 << 10]).expect("it can be written");
    let excess = excesses.recv().await.expect("it is too large");
    assert_eq!((excess.member, excess.limit_bytes), (3, 1 << 20));
    assert!(excess.taken_bytes >= 1800 << 10 && excess.words().contains("limit of 1.0 MiB"), "{}", excess.words());
    assert!(allowance.taken.load(Ordering::Relaxed) >= 1800 << 10);
    watched.await.expect("it ends by itself");
    assert_eq!(excesses.recv().await, None);
}
