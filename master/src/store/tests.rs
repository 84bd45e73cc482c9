use rialto_core::gate::Gate;
use rialto_core::gate::Output;
use rialto_core::model::{Role, Term};

use super::*;

fn records(term: u64) -> Vec<Record> {
    vec![Record::Term(Term(term)), Record::Weight(Role::new("eng").unwrap(), Some(2000))]
}

/// Batches as a gate names them.
fn batches(each: Vec<Vec<Record>>) -> Vec<(BatchId, Vec<Record>)> {
    let mut gate = Gate::<Record, ()>::default();
    let batch = |records: Vec<Record>| {
        gate.push(records.into_iter().map(Output::Persist), &mut Vec::new());
        gate.take_batch().unwrap()
    };
    each.into_iter().map(batch).collect()
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut medium = Medium::redb(dir.path()).unwrap();
    let fresh = medium.load().unwrap();
    assert_eq!(fresh.term, Term(0));
    let mut store = Store::start(medium, Metrics::default()).unwrap();
    for (batch, records) in batches(vec![records(1), vec![Record::Term(Term(2))]]) {
        store.submit(batch, records).await.unwrap();
        assert_eq!(store.written().await.unwrap(), batch);
    }
    store.stop();
    let registry = Medium::redb(dir.path()).unwrap().load().unwrap();
    assert_eq!((registry.cluster, registry.term), (fresh.cluster, Term(2)));
    assert_eq!(registry.weights.values().copied().collect::<Vec<_>>(), [2000]);
}

#[tokio::test]
async fn stopping_writes_what_was_submitted() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::start(Medium::redb(dir.path()).unwrap(), Metrics::default()).unwrap();
    let (cluster, value) = format::encode_cluster(ClusterId(7));
    let mut medium = Medium::memory();
    medium.write(vec![(cluster, Some(value))]).unwrap();
    assert_eq!(medium.load().unwrap().cluster, ClusterId(7));
    for (batch, records) in batches(vec![records(1), records(2)]) {
        store.submit(batch, records).await.unwrap();
    }
    store.stop();
    let entries = Medium::redb(dir.path()).unwrap().entries().unwrap();
    assert!(entries.iter().any(|(key, _)| key == b"meta/term"), "{entries:?}");
}

#[test]
fn a_removed_key_is_gone() {
    for mut medium in [Medium::memory(), Medium::redb(tempfile::tempdir().unwrap().path()).unwrap()] {
        medium.load().unwrap();
        let role = Role::new("eng").unwrap();
        medium.write(vec![format::encode_record(&Record::Weight(role.clone(), Some(5)))]).unwrap();
        medium.write(vec![format::encode_record(&Record::Weight(role, None))]).unwrap();
        assert!(medium.load().unwrap().weights.is_empty());
    }
}

#[test]
fn a_file_that_is_no_registry_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(REGISTRY_FILE), "not a database, by any means; long enough to be read as one")
        .unwrap();
    let error = Medium::redb(dir.path()).unwrap_err().to_string();
    assert!(error.contains("registry.redb"), "{error}");
}

#[test]
fn a_damaged_entry_is_refused_and_named() {
    let mut medium = Medium::memory();
    medium.load().unwrap();
    let (key, value) = format::encode_record(&Record::Term(Term(3)));
    let mut value = value.unwrap();
    *value.last_mut().unwrap() ^= 1;
    medium.write(vec![(key, Some(value))]).unwrap();
    let error = medium.load().unwrap_err().to_string();
    assert!(error.contains("meta/term"), "{error}");
}
