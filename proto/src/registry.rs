//! The master's registry as keys and values.
//!
//! Keys are readable and sort by what they are about: `agent/A1-3`, `framework/F1-2`, `kill/F1-2/task`, `weight/eng/ci`, `quota/eng/ci`,
//! `offer_mode/eng/ci`, `price/spot/G2`, `leaving/A1-3`, `operation/X1-3`, `meta/term`, `meta/cluster`. A value is a version byte, a check sum, and a message of package
//! `rialto.registry.v1`. The check sum covers the key too, so that a value under the wrong key is found out.

use std::sync::Arc;

use prost::Message;
use rialto_core::master::registry::{
    Admission, AgentRecord, FrameworkRecord, KillRecord, OperationRecord, PriceRecord, Record, Registry,
};
use rialto_core::model::{
    AgentInfo, ClusterId, FrameworkId, PriceKey, Principal, Resources, Role, TaskId, TaskKey, Term, WallTime,
};

use crate::convert::{
    At, ConvertError, Converted, Wire, attributes, duration, inside, kill_reason, micros, optional, optional_duration,
    price, required, text, to_attributes, wire_enum,
};
use crate::generated::rialto::registry::v1;

/// The version of the values' format.
pub const VALUE_VERSION: u8 = 1;

const CLUSTER_KEY: &str = "meta/cluster";
const TERM_KEY: &str = "meta/term";
/// A version byte and a check sum.
const HEADER_LEN: usize = 5;

/// Why entries are not a registry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// There are no entries: the registry is still to be made.
    #[error("registry: no entries")]
    Empty,
    /// There are entries, but none for the cluster's id.
    #[error("registry: expected an entry {CLUSTER_KEY}, found none")]
    NoCluster,
    /// A key that no version of this format that is known here writes.
    #[error("registry key {key:?}: not known to this version")]
    UnknownKey {
        /// The key.
        key: String,
    },
    /// A value of another version.
    #[error("registry key {key:?}: expected version {VALUE_VERSION}, found {version}")]
    Version {
        /// The key.
        key: String,
        /// The version that was found.
        version: u8,
    },
    /// A value that is not what was written.
    #[error("registry key {key:?}: check sum does not match")]
    Checksum {
        /// The key.
        key: String,
    },
    /// A value that was written so, and is not acceptable.
    #[error("registry key {key:?}: {error}")]
    Value {
        /// The key.
        key: String,
        /// What is wrong with it.
        error: ConvertError,
    },
}

/// The entry that names the cluster; made once.
pub fn encode_cluster(cluster: ClusterId) -> (Vec<u8>, Vec<u8>) {
    let entry = v1::ClusterEntry { cluster: cluster.to_wire() };
    (CLUSTER_KEY.into(), seal(CLUSTER_KEY, &entry))
}

/// The key and value of a record; no value means that the key is removed.
pub fn encode_record(record: &Record) -> (Vec<u8>, Option<Vec<u8>>) {
    match record {
        Record::Term(term) => (TERM_KEY.into(), Some(seal(TERM_KEY, &v1::TermEntry { term: term.0 }))),
        Record::Agent(id, agent) => entry(format!("agent/{id}"), agent.as_ref().map(to_agent)),
        Record::Framework(id, framework) => entry(format!("framework/{id}"), framework.as_ref().map(to_framework)),
        Record::Kill(task, kill) => entry(format!("kill/{task}"), kill.as_ref().map(to_kill)),
        Record::Operation(id, operation) => entry(format!("operation/{id}"), operation.as_ref().map(to_operation)),
        Record::Quota(role, quota) => {
            entry(format!("quota/{role}"), quota.as_ref().map(|quota| v1::QuotaEntry { quota: Some(quota.to_wire()) }))
        }
        Record::OfferMode(role, mode) => {
            entry(format!("offer_mode/{role}"), mode.map(|mode| v1::OfferModeEntry { mode: mode.to_wire() }))
        }
        Record::Leaving(id, at) => entry(format!("leaving/{id}"), at.map(|at| v1::LeavingEntry { at_unix_us: at.0 })),
        Record::Price(key, price) => entry(price_key(key), price.as_ref().map(to_price)),
        Record::Weight(role, weight) => {
            entry(format!("weight/{role}"), weight.map(|weight_milli| v1::WeightEntry { weight_milli }))
        }
    }
}

/// The registry that `entries` are.
///
/// # Errors
///
/// The first entry that can't be read, by its key; [`RegistryError::Empty`] if there are none.
pub fn decode_entries<K, V>(entries: impl IntoIterator<Item = (K, V)>) -> Result<Registry, RegistryError>
where
    K: AsRef<[u8]>,
    V: AsRef<[u8]>,
{
    let (mut cluster, mut records) = (None, Vec::new());
    for (key, value) in entries {
        match decode_entry(key.as_ref(), value.as_ref())? {
            Entry::Cluster(id) => cluster = Some(id),
            Entry::Record(record) => records.push(*record),
        }
    }
    if cluster.is_none() && records.is_empty() {
        return Err(RegistryError::Empty);
    }
    let mut registry = Registry::new(cluster.ok_or(RegistryError::NoCluster)?);
    records.into_iter().for_each(|record| registry.apply(record));
    Ok(registry)
}

enum Entry {
    Cluster(ClusterId),
    Record(Box<Record>),
}

fn entry(key: String, message: Option<impl Message>) -> (Vec<u8>, Option<Vec<u8>>) {
    let value = message.map(|message| seal(&key, &message));
    (key.into_bytes(), value)
}

/// Puts version and check sum in front of `message`.
fn seal(key: &str, message: &impl Message) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEADER_LEN + message.encoded_len());
    value.extend([VALUE_VERSION, 0, 0, 0, 0]);
    message.encode(&mut value).expect("a vector grows as needed");
    let sum = checksum(key.as_bytes(), &value[HEADER_LEN..]);
    value[1..HEADER_LEN].copy_from_slice(&sum.to_le_bytes());
    value
}

fn checksum(key: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[VALUE_VERSION]);
    hasher.update(key);
    hasher.update(payload);
    hasher.finalize()
}

fn decode_entry(key: &[u8], value: &[u8]) -> Result<Entry, RegistryError> {
    let name = || String::from_utf8_lossy(key).into_owned();
    let payload = unseal(key, value)?;
    let Ok(text) = std::str::from_utf8(key) else { return Err(RegistryError::UnknownKey { key: name() }) };
    match parse_entry(text, payload) {
        Ok(Some(entry)) => Ok(entry),
        Ok(None) => Err(RegistryError::UnknownKey { key: name() }),
        Err(error) => Err(RegistryError::Value { key: name(), error }),
    }
}

fn unseal<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], RegistryError> {
    let name = || String::from_utf8_lossy(key).into_owned();
    let Some((&[version, ref sum @ ..], payload)) = value.split_first_chunk::<HEADER_LEN>() else {
        return Err(RegistryError::Checksum { key: name() });
    };
    if version != VALUE_VERSION {
        return Err(RegistryError::Version { key: name(), version });
    }
    if u32::from_le_bytes(*sum) != checksum(key, payload) {
        return Err(RegistryError::Checksum { key: name() });
    }
    Ok(payload)
}

/// What an entry says; `None` if its key is not known.
fn parse_entry(key: &str, payload: &[u8]) -> Converted<Option<Entry>> {
    let Some((kind, name)) = key.split_once('/') else { return Ok(None) };
    let record = match (kind, name) {
        ("meta", "cluster") => {
            let cluster = inside(decode::<v1::ClusterEntry>(payload)?.cluster, "cluster")?;
            return Ok(Some(Entry::Cluster(cluster)));
        }
        ("meta", "term") => Record::Term(Term(decode::<v1::TermEntry>(payload)?.term)),
        ("agent", id) => Record::Agent(parse(id)?, Some(from_agent(decode(payload)?)?)),
        ("framework", id) => Record::Framework(parse(id)?, Some(from_framework(decode(payload)?)?)),
        ("kill", task) => Record::Kill(parse_task(task)?, Some(from_kill(decode(payload)?)?)),
        ("operation", id) => Record::Operation(parse(id)?, Some(from_operation(decode(payload)?)?)),
        ("quota", role) => {
            Record::Quota(parse::<Role>(role)?, Some(required(decode::<v1::QuotaEntry>(payload)?.quota, "quota")?))
        }
        ("offer_mode", role) => {
            let mode = inside(decode::<v1::OfferModeEntry>(payload)?.mode, "mode")?;
            Record::OfferMode(parse::<Role>(role)?, Some(mode))
        }
        ("leaving", id) => Record::Leaving(parse(id)?, Some(WallTime(decode::<v1::LeavingEntry>(payload)?.at_unix_us))),
        ("price", key) => Record::Price(parse_price_key(key)?, Some(from_price(decode(payload)?)?)),
        ("weight", role) => {
            Record::Weight(parse::<Role>(role)?, Some(decode::<v1::WeightEntry>(payload)?.weight_milli))
        }
        _ => return Ok(None),
    };
    Ok(Some(Entry::Record(Box::new(record))))
}

fn decode<M: Message + Default>(payload: &[u8]) -> Converted<M> {
    M::decode(payload).map_err(ConvertError::here).at("value")
}

fn parse<T: std::str::FromStr<Err: ToString>>(text: &str) -> Converted<T> {
    text.parse().map_err(|error: T::Err| ConvertError::here(error.to_string())).at("key")
}

fn parse_task(text: &str) -> Converted<TaskKey> {
    let parts = text.split_once('/').ok_or_else(|| ConvertError::here("expected framework/task")).at("key")?;
    Ok(TaskKey::new(parse::<FrameworkId>(parts.0)?, parse::<TaskId>(parts.1)?))
}

wire_enum!(Admission, v1::Admission, { Admitted, Unreachable, Gone });

fn to_agent(agent: &AgentRecord) -> v1::AgentEntry {
    v1::AgentEntry {
        client: agent.client.to_wire(),
        principal: agent.principal.as_str().to_owned(),
        name: agent.info.name.as_ref().to_owned(),
        admission: agent.admission.to_wire(),
        since_unix_us: agent.since.0,
        resources: Some(agent.resources.to_wire()),
        attributes: to_attributes(&agent.info.attributes),
        domain: agent.info.domain.as_ref().map(Wire::to_wire),
    }
}

fn from_agent(agent: v1::AgentEntry) -> Converted<AgentRecord> {
    Ok(AgentRecord {
        client: inside(agent.client, "client")?,
        principal: Principal::new(&text(&agent.principal, "principal")?),
        info: Arc::new(AgentInfo {
            name: text(&agent.name, "name")?,
            attributes: attributes(agent.attributes, "attributes")?,
            domain: optional(agent.domain, "domain")?,
        }),
        admission: inside(agent.admission, "admission")?,
        since: WallTime(agent.since_unix_us),
        resources: optional::<Resources>(agent.resources, "resources")?.unwrap_or_default().into(),
    })
}

fn to_framework(framework: &FrameworkRecord) -> v1::FrameworkEntry {
    v1::FrameworkEntry {
        client: framework.client.to_wire(),
        principal: framework.principal.as_str().to_owned(),
        info: Some(framework.info.to_wire()),
        remaining_us: micros(framework.remaining),
    }
}

fn from_framework(framework: v1::FrameworkEntry) -> Converted<FrameworkRecord> {
    Ok(FrameworkRecord {
        client: inside(framework.client, "client")?,
        principal: Principal::new(&text(&framework.principal, "principal")?),
        info: required(framework.info, "info")?,
        remaining: duration(framework.remaining_us, "remaining_us")?,
    })
}

fn to_kill(kill: &KillRecord) -> v1::KillEntry {
    v1::KillEntry {
        agent: kill.agent.map(|agent| agent.to_wire()),
        grace_us: kill.grace.map(micros),
        reason: kill.reason.to_wire(),
    }
}

fn from_kill(kill: v1::KillEntry) -> Converted<KillRecord> {
    Ok(KillRecord {
        agent: optional(kill.agent, "agent")?,
        grace: optional_duration(kill.grace_us, "grace_us")?,
        reason: kill_reason(kill.reason)?,
    })
}

fn to_operation(operation: &OperationRecord) -> v1::OperationEntry {
    v1::OperationEntry { agent: Some(operation.agent.to_wire()), operation: Some(operation.operation.to_wire()) }
}

fn from_operation(operation: v1::OperationEntry) -> Converted<OperationRecord> {
    Ok(OperationRecord {
        agent: required(operation.agent, "agent")?,
        operation: required(operation.operation, "operation")?,
    })
}

fn price_key(key: &PriceKey) -> String {
    let region = key.region().map(|region| format!("/{region}")).unwrap_or_default();
    format!("price/{}/{}{region}", key.class(), key.pool())
}

fn parse_price_key(text: &str) -> Converted<PriceKey> {
    let mut parts = text.splitn(3, '/');
    let (class, pool) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    PriceKey::new(pool, parse(class)?, parts.next()).map_err(ConvertError::here).at("key")
}

fn to_price(record: &PriceRecord) -> v1::PriceEntry {
    v1::PriceEntry { price_millionths: record.price.0, since_unix_us: record.since.0 }
}

fn from_price(entry: v1::PriceEntry) -> Converted<PriceRecord> {
    Ok(PriceRecord { price: price(entry.price_millionths)?, since: WallTime(entry.since_unix_us) })
}
