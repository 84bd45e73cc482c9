use std::sync::mpsc::channel;

use rialto_core::gate::{Gate, Output};
use rialto_core::model::{ClientId, Term};

use super::*;

const TIMEOUT: Duration = Duration::from_secs(20);

fn batch(records: Vec<Record>) -> (BatchId, Vec<Record>) {
    let mut gate: Gate<Record, ()> = Gate::default();
    gate.push(records.into_iter().map(Output::Persist), &mut Vec::new());
    gate.take_batch().expect("there are records")
}

fn write(path: &Path, jobs: Vec<Job>) -> Vec<Written> {
    let (_, file) = load(path).expect("it can be loaded");
    let (tell, told) = channel();
    let writer = Writer::start(file, move |written| tell.send(written).expect("the test listens"))
        .expect("threads can be started");
    let mut heard = Vec::new();
    for job in jobs {
        writer.submit(job);
        heard.push(told.recv_timeout(TIMEOUT).expect("the batch is written"));
    }
    drop(writer);
    heard
}

fn append(records: Vec<Record>) -> Job {
    let (batch, records) = batch(records);
    Job::Append(batch, records)
}

fn rewrite(records: Vec<Record>) -> Job {
    let (batch, records) = batch(records);
    Job::Rewrite(batch, records)
}

fn state(records: &[Record]) -> Journal {
    let mut journal = Journal::default();
    records.iter().for_each(|record| journal.apply(record));
    journal
}

#[test]
fn what_was_written_is_read_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("journal");
    let heard = write(&path, vec![append(vec![Record::Client(ClientId(7))]), append(vec![Record::Term(Term(3))])]);
    assert!(heard.iter().all(|written| matches!(written, Written::Durable { compact: false, .. })));
    let (journal, _) = load(&path).expect("it can be loaded");
    assert_eq!(journal, state(&[Record::Client(ClientId(7)), Record::Term(Term(3))]));
}

#[test]
fn a_torn_end_is_cut_off_and_written_over() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("journal");
    write(&path, vec![append(vec![Record::Client(ClientId(7))])]);
    let good = fs::read(&path).expect("it can be read");
    write(&path, vec![append(vec![Record::Term(Term(3))])]);
    let whole = fs::read(&path).expect("it can be read");
    for end in good.len()..whole.len() {
        fs::write(&path, &whole[..end]).expect("it can be written");
        let (journal, _) = load(&path).expect("a torn end is no error");
        assert_eq!(journal, state(&[Record::Client(ClientId(7))]));
        write(&path, vec![append(vec![Record::Term(Term(3))])]);
        assert_eq!(fs::read(&path).expect("it can be read"), whole);
    }
}

#[test]
fn a_rewritten_journal_is_appended_to() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("journal");
    let terms: Vec<Record> = (1..100).map(|term| Record::Term(Term(term))).collect();
    write(&path, vec![append(terms)]);
    let long = fs::metadata(&path).expect("it is there").len();
    write(&path, vec![rewrite(vec![Record::Term(Term(99))]), append(vec![Record::Client(ClientId(7))])]);
    assert!(fs::metadata(&path).expect("it is there").len() < long);
    let (journal, _) = load(&path).expect("it can be loaded");
    assert_eq!(journal, state(&[Record::Term(Term(99)), Record::Client(ClientId(7))]));
}

#[test]
fn a_file_that_is_no_journal_is_left_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("journal");
    fs::write(&path, "something else").expect("it can be written");
    let error = load(&path).expect_err("it is no journal").to_string();
    assert!(error.contains("journal") && error.contains("RIALTOJ1"), "{error}");
    assert_eq!(fs::read(&path).expect("it can be read"), b"something else");
}

/// A rewrite needs a temporary file; a folder in its place makes it fail until it is removed.
#[test]
fn a_failed_write_is_said_and_tried_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("journal");
    let obstacle = path.with_extension("new");
    let (_, file) = load(&path).expect("it can be loaded");
    fs::create_dir(&obstacle).expect("it can be made");
    let (tell, told) = channel();
    let writer = Writer::start(file, move |written| tell.send(written).expect("the test listens"))
        .expect("threads can be started");
    writer.submit(rewrite(vec![Record::Term(Term(5))]));
    assert!(matches!(told.recv_timeout(TIMEOUT), Ok(Written::Degraded(_))));
    fs::remove_dir(&obstacle).expect("it can be removed");
    let last =
        std::iter::from_fn(|| told.recv_timeout(TIMEOUT).ok()).find(|written| !matches!(written, Written::Degraded(_)));
    assert_eq!(last, Some(Written::Recovered));
    assert!(matches!(told.recv_timeout(TIMEOUT), Ok(Written::Durable { .. })));
    assert_eq!(load(&path).expect("it can be loaded").0, state(&[Record::Term(Term(5))]));
}
