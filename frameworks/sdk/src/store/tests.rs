use super::*;

fn save(key: &str, value: Option<&[u8]>) -> DriverRecord {
    DriverRecord::Save { key: key.to_owned(), value: value.map(<[u8]>::to_vec) }
}

#[test]
fn what_is_kept_in_a_file_is_there_when_it_is_opened_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state.redb");
    let mut store = RedbStore::open(&path).expect("opens");
    assert_eq!(store.load().expect("reads"), Saved::new());
    store.commit(vec![save("a", Some(b"1")), save("b", Some(b"2")), save("a", None)]).expect("writes");
    drop(store);
    let saved = RedbStore::open(&path).expect("opens").load().expect("reads");
    assert_eq!(saved, Saved::from([("b".to_owned(), b"2".to_vec())]));
}

#[test]
fn a_file_of_another_program_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state.redb");
    std::fs::write(&path, b"not a database").expect("writes");
    let error = RedbStore::open(&path).expect_err("is no database").to_string();
    assert!(error.starts_with("state store: can't open the file:"), "{error}");
}

#[test]
fn memory_keeps_the_last_value() {
    let mut store = MemoryStore::default();
    store.commit(vec![save("a", Some(b"1")), save("a", Some(b"2"))]).expect("keeps");
    assert_eq!(store.load().expect("loads"), Saved::from([("a".to_owned(), b"2".to_vec())]));
}
