use super::*;

fn digest(number: u8) -> Sha256 {
    Sha256([number; 32])
}

fn keep(store: &Store, number: u8, bytes: u64) -> PathBuf {
    let draft = store.draft();
    fs::create_dir(&draft.path).expect("it can be made");
    fs::write(draft.path.join("file"), [number]).expect("it can be written");
    store.keep(&draft, &digest(number), bytes, || BTreeSet::from([name(&digest(4))])).expect("it can be kept")
}

#[test]
fn layers_that_nobody_uses_go_first() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(folder.path().to_owned(), 25).expect("it can be made");
    let there = |number: u8| store.get(&digest(number)).expect("it can be read").is_some();
    keep(&store, 1, 10);
    let lease = store.lease([&digest(1)]);
    keep(&store, 4, 10);
    keep(&store, 2, 10);
    assert!(there(1) && there(4), "one is leased, one is mounted");
    assert!(!there(2), "so the new one goes itself");
    drop(lease);
    keep(&store, 3, 10);
    assert!(!there(1) && there(3) && there(4));
    assert!(fs::read_dir(folder.path().join("drafts")).expect("it exists").next().is_none(), "removed, not put away");
}

#[test]
fn a_folder_without_a_label_is_made_anew_and_one_with_it_is_kept() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(folder.path().to_owned(), 1000).expect("it can be made");
    let half = folder.path().join("layers").join(name(&digest(1)));
    fs::create_dir(&half).expect("it can be made");
    fs::write(half.join("half"), "").expect("it can be written");
    assert!(store.get(&digest(1)).expect("it can be read").is_none());
    let kept = keep(&store, 1, 10);
    assert!(kept.join("file").exists() && !kept.join("half").exists());
    assert_eq!(keep(&store, 1, 10), kept);
    let mut other = digest(1);
    other.0[31] = 9;
    assert!(store.get(&other).is_err(), "the same name is not the same layer");
}

#[test]
fn users_are_those_of_the_image() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let layer = |name: &str| folder.path().join(name);
    for (name, passwd) in [("top", "app:x:10:20::/:\n"), ("bottom", "app:x:1:2::/:\nold:x:3:4::/:\n")] {
        fs::create_dir_all(layer(name).join("etc")).expect("it can be made");
        fs::write(layer(name).join("etc/passwd"), passwd).expect("it can be written");
    }
    fs::write(layer("bottom").join("etc/group"), "staff:x:50:\n").expect("it can be written");
    let layers = [layer("top"), layer("bottom")];
    let user = |text: &str| resolve_user(&layers, text);
    assert_eq!(user("app").as_deref(), Ok("10:20"), "the topmost file counts");
    assert_eq!(user("10").as_deref(), Ok("10:20"));
    assert_eq!(user("app:staff").as_deref(), Ok("10:50"));
    assert_eq!(user("7").as_deref(), Ok("7:7"));
    assert_eq!(user("7:8").as_deref(), Ok("7:8"));
    assert!(user("old").is_err() && user("app:nobody").is_err() && user("").is_err());
    // A link in place of the file would be read as the agent's.
    fs::remove_file(layer("top").join("etc/passwd")).expect("it is there");
    std::os::unix::fs::symlink("/etc/passwd", layer("top").join("etc/passwd")).expect("it can be made");
    assert_eq!(user("app").as_deref(), Ok("1:2"));
}
