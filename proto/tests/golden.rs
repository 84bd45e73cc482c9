//! Every byte format against committed bytes: a change that would make old registries, journals or peers unreadable shows up here.
//!
//! The files are text, one line for each value, in hexadecimal. UPDATE_GOLDEN=1 writes them anew; what was written by a released version
//! must still be read after that, so a change goes with a new version number.

mod samples;

use std::path::PathBuf;
use std::{env, fs};

use prost::Message;
use rialto_core::master::registry::{Record, Registry};
use rialto_core::model::ClusterId;
use rialto_proto::journal::{JournalReader, MAGIC, encode_journal};
use rialto_proto::registry::{decode_entries, encode_cluster, encode_record};
use rialto_proto::spec::TaskSpec;
use rialto_proto::{Wire, frames};

/// The committed text of `name`; first written, if that is asked for.
fn committed(name: &str, now: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, now).expect("tests/golden can be written");
    }
    fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{name}: {error}; run UPDATE_GOLDEN=1 cargo test -p rialto-proto --test golden"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().map(|c| c.to_digit(16).expect("a hexadecimal digit")).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("two digits")).collect()
}

fn entry_line(key: &[u8], value: &[u8]) -> String {
    format!("{} {}\n", String::from_utf8_lossy(key), hex(value))
}

fn check_record(name: &str, record: &Record) {
    let (key, value) = encode_record(record);
    let now = entry_line(&key, &value.expect("samples put something"));
    let committed = committed(name, &now);
    assert_eq!(committed, now, "{name}");

    let (key, value) = committed.trim_end().split_once(' ').expect("a key and a value");
    let mut expected = Registry::new(ClusterId(7));
    expected.apply(record.clone());
    let entries = [encode_cluster(ClusterId(7)), (key.into(), unhex(value))];
    assert_eq!(decode_entries(entries), Ok(expected), "{name}");
}

#[test]
fn registry_records() {
    check_record("registry-term.txt", &samples::term());
    check_record("registry-agent.txt", &samples::agent());
    check_record("registry-framework.txt", &samples::framework());
    check_record("registry-kill.txt", &samples::kill());
    check_record("registry-weight.txt", &samples::weight());
    check_record("registry-operation.txt", &samples::operation());
    check_record("registry-quota.txt", &samples::quota());
    check_record("registry-offer-mode.txt", &samples::offer_mode());
    check_record("registry-leaving.txt", &samples::leaving());
    check_record("registry-price.txt", &samples::price());
}

#[test]
fn registry_cluster() {
    let (key, value) = encode_cluster(samples::CLUSTER);
    let now = entry_line(&key, &value);
    assert_eq!(committed("registry-cluster.txt", &now), now);
}

#[test]
fn journal() {
    let records = samples::journal();
    let mut now = format!("{}\n", hex(&MAGIC));
    for record in &records {
        let mut frame = Vec::new();
        encode_journal(record, &mut frame);
        now.push_str(&format!("{}\n", hex(&frame)));
    }
    let committed = committed("journal.txt", &now);
    assert_eq!(committed, now);

    let bytes: Vec<u8> = committed.lines().flat_map(unhex).collect();
    let read: Result<Vec<_>, _> = JournalReader::new(&bytes).expect("a journal").collect();
    assert_eq!(read, Ok(records));
}

#[test]
fn frames() {
    let now = [
        samples::hello().to_wire().encode_to_vec(),
        frames::call_frame(&samples::calls()).encode_to_vec(),
        frames::event_frame(samples::TERM, &samples::events()).encode_to_vec(),
        frames::from_agent_frame(&samples::from_agent()).encode_to_vec(),
        frames::to_agent_frame(samples::TERM, &samples::to_agent()).encode_to_vec(),
    ];
    let now: String = now.iter().map(|bytes| format!("{}\n", hex(bytes))).collect();
    assert_eq!(committed("frames.txt", &now), now);
}

#[test]
fn task_spec() {
    let spec = samples::spec();
    let now = format!("{}\n", hex(spec.to_body().as_bytes()));
    let committed = committed("task-spec.txt", &now);
    assert_eq!(committed, now);
    let body = rialto_core::model::Body::new(unhex(committed.trim_end()));
    assert_eq!(TaskSpec::from_body(&body), Ok(spec));
}
