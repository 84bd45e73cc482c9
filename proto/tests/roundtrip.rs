//! What is said arrives as it was said, and nothing that arrives can make a reader panic.

mod strategies;

use std::fmt::Debug;

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use rialto_core::master::registry::Registry;
use rialto_core::model::{ClusterId, Reject};
use rialto_proto::journal::{JournalError, JournalReader, MAGIC, encode_journal};
use rialto_proto::registry::{decode_entries, encode_cluster, encode_record};
use rialto_proto::status::{reject_from_status, reject_to_status, status_code};
use rialto_proto::{Wire, v1};
use strategies::{call, command, event, from_agent, journal_record, registry_record, reject, reply, to_agent};

/// Sends `value` through bytes and back.
fn sent<T>(value: &T) -> T
where
    T: Wire + Debug,
    T::Message: Message + Default,
{
    let bytes = value.to_wire().encode_to_vec();
    let message = T::Message::decode(&*bytes).expect("it was just encoded");
    T::from_wire(message).unwrap_or_else(|error| panic!("{error} in {value:?}"))
}

/// Reads damaged bytes; anything but a panic is good.
fn read_damaged<T>(value: &T, damage: &[(prop::sample::Index, u8)])
where
    T: Wire,
    T::Message: Message + Default,
{
    let mut bytes = value.to_wire().encode_to_vec();
    for (index, byte) in damage {
        if !bytes.is_empty() {
            let at = index.index(bytes.len());
            bytes[at] = *byte;
        }
    }
    read::<T>(&bytes);
}

fn read<T>(bytes: &[u8])
where
    T: Wire,
    T::Message: Message + Default,
{
    if let Ok(message) = T::Message::decode(bytes) {
        drop(T::from_wire(message));
    }
}

fn damage() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn calls_arrive(call in call()) {
        prop_assert_eq!(sent(&call), call);
    }

    #[test]
    fn events_arrive(event in event()) {
        prop_assert_eq!(sent(&event), event);
    }

    #[test]
    fn messages_of_agents_arrive(message in from_agent()) {
        prop_assert_eq!(sent(&message), message);
    }

    #[test]
    fn messages_to_agents_arrive(message in to_agent()) {
        prop_assert_eq!(sent(&message), message);
    }

    #[test]
    fn commands_and_replies_arrive(command in command(), reply in reply()) {
        prop_assert_eq!(sent(&command), command);
        prop_assert_eq!(sent(&reply), reply);
    }

    #[test]
    fn rejects_arrive_as_statuses(reject in reject()) {
        let status = reject_to_status(&reject);
        prop_assert_eq!(status_code(&status), Some(reject.code()));
        prop_assert_eq!(reject_from_status(&status), Some(reject));
    }

    #[test]
    fn registries_are_read_as_written(records in vec(registry_record(), 0..6), cluster in any::<u128>()) {
        let mut expected = Registry::new(ClusterId(cluster));
        let mut entries = std::collections::BTreeMap::from([encode_cluster(ClusterId(cluster))]);
        for record in records {
            let (key, value) = encode_record(&record);
            entries.insert(key, value.expect("these records put something"));
            expected.apply(record);
        }
        prop_assert_eq!(decode_entries(entries), Ok(expected));
    }

    #[test]
    fn journals_are_read_as_written_and_up_to_any_cut(records in vec(journal_record(), 1..5)) {
        let (mut bytes, mut ends) = (MAGIC.to_vec(), vec![MAGIC.len()]);
        for record in &records {
            encode_journal(record, &mut bytes);
            ends.push(bytes.len());
        }
        for cut in 0..=bytes.len() {
            let mut reader = JournalReader::new(&bytes[..cut]).expect("a journal, or the beginning of one");
            let whole = ends.iter().filter(|end| **end <= cut).count();
            let read: Result<Vec<_>, JournalError> = reader.by_ref().collect();
            prop_assert_eq!(read.as_deref(), Ok(&records[..whole.saturating_sub(1)]));
            prop_assert_eq!(reader.good_bytes(), if whole == 0 { 0 } else { ends[whole - 1] });
        }
    }

    #[test]
    fn damage_before_the_last_record_is_an_error(
        records in vec(journal_record(), 2..4), at in any::<prop::sample::Index>(), mask in 1..=u8::MAX
    ) {
        let (mut bytes, mut last) = (MAGIC.to_vec(), 0);
        for record in &records {
            last = bytes.len();
            encode_journal(record, &mut bytes);
        }
        let at = MAGIC.len() + at.index(last - MAGIC.len());
        bytes[at] ^= mask;
        let read: Result<Vec<_>, JournalError> = JournalReader::new(&bytes).expect("the header is whole").collect();
        prop_assert!(matches!(read, Err(JournalError::Corrupt { .. })), "byte {at}: {read:?}");
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in vec(any::<u8>(), 0..200)) {
        read::<rialto_core::model::Call>(&bytes);
        read::<rialto_core::model::Event>(&bytes);
        read::<rialto_core::model::FromAgent>(&bytes);
        read::<rialto_core::model::ToAgent>(&bytes);
        read::<rialto_core::master::Command>(&bytes);
        read::<rialto_proto::spec::TaskSpec>(&bytes);
        read::<rialto_proto::hello::Hello>(&bytes);
        drop(decode_entries([(b"agent/A1-1".as_slice(), bytes.as_slice())]));
        if let Ok(reader) = JournalReader::new(&[&MAGIC, bytes.as_slice()].concat()) {
            reader.for_each(drop);
        }
    }

    #[test]
    fn no_damage_makes_a_reader_panic(
        call in call(), event in event(), up in from_agent(), down in to_agent(), damage in damage()
    ) {
        read_damaged(&call, &damage);
        read_damaged(&event, &damage);
        read_damaged(&up, &damage);
        read_damaged(&down, &damage);
    }
}

#[test]
fn a_status_without_details_is_no_reject() {
    assert_eq!(reject_from_status(&tonic::Status::unavailable("connection refused")), None);
}

#[test]
fn long_refusals_are_cut_and_not_lost() {
    let long = Reject::invalid("f", "ä".repeat(10_000));
    let Reject::Invalid { message, .. } = sent(&long) else { panic!("another reject") };
    assert_eq!(message.len(), 4096);
    let status = reject_to_status(&long);
    assert_eq!(status_code(&status), Some("invalid"));
    assert!(status.message().len() <= 1024 && status.details().len() <= 4096);
}

#[test]
fn words_of_refusals_are_kept() {
    let reject = Reject::Limit { what: "calls that wait", limit: 3 };
    assert_eq!(sent(&reject), reject);
}

#[test]
fn reasons_have_their_names_on_the_wire() {
    for reason in rialto_core::model::Reason::ALL {
        let wire =
            v1::Reason::try_from(reason.to_wire()).unwrap_or_else(|_| panic!("{reason} is missing in common.proto"));
        assert_eq!(wire.as_str_name(), format!("REASON_{reason}"));
    }
}
