use super::*;

#[test]
fn what_nobody_may_look_into_is_removed_all_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let outside = tempfile::tempdir().expect("a folder");
    fs::write(outside.path().join("kept"), "").expect("it can be written");
    let doomed = folder.path().join("doomed");
    fs::create_dir_all(doomed.join("a/b")).expect("it can be made");
    fs::write(doomed.join("a/b/file"), "").expect("it can be written");
    std::os::unix::fs::symlink(outside.path(), doomed.join("a/link")).expect("it can be made");
    for closed in ["a/b", "a", ""] {
        fs::set_permissions(doomed.join(closed), Permissions::from_mode(0o000)).expect("it is ours");
    }
    remove(&doomed).expect("it is ours");
    assert!(!doomed.exists() && outside.path().join("kept").exists(), "a link is removed, and not what it leads to");
    remove(&doomed).expect("one that is not there is as good");
}

#[test]
fn what_is_unlocked_can_be_looked_into() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("closed")).expect("it can be made");
    fs::set_permissions(folder.path().join("closed"), Permissions::from_mode(0o000)).expect("it is ours");
    let outside = tempfile::tempdir().expect("a folder");
    fs::set_permissions(outside.path(), Permissions::from_mode(0o750)).expect("it is ours");
    std::os::unix::fs::symlink(outside.path(), folder.path().join("link")).expect("it can be made");
    unlock(folder.path(), MAX_DEPTH);
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&folder.path().join("closed")), 0o700);
    assert_eq!(mode(outside.path()), 0o750, "no link is followed");
}
