//! What a driver keeps for its framework's next life, as bytes.
//!
//! Each record is one line of text: version, fields, check sum. The keys begin with [`PREFIX`]; policies choose others.

use std::collections::BTreeMap;
use std::num::ParseIntError;
use std::str::FromStr;

use super::DriverRecord;
use super::tasks::Tracked;
use crate::model::{AgentId, CallId, ClientId, ClusterId, FrameworkId, TaskId, TaskState, Term, UpdateId};

/// What the driver's keys begin with.
const PREFIX: &str = "driver/";
const IDENTITY_KEY: &str = "driver/framework";
const TERM_KEY: &str = "driver/term";
const TASK_PREFIX: &str = "driver/task/";
const VERSION: &str = "v1";

/// Why saved state can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("saved record {key:?}: expected {expected}, got {got:?}")]
pub struct SavedError {
    /// Which record.
    pub key: String,
    /// What was expected.
    pub expected: &'static str,
    /// What is there.
    pub got: String,
}

/// Who the framework is, across its lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// Counts the framework's lives, so that no call id is used twice.
    pub(super) life: u32,
    pub(super) client: ClientId,
    pub(super) framework: Option<FrameworkId>,
    /// The cluster in which it has that id.
    pub(super) cluster: Option<ClusterId>,
}

impl Identity {
    pub(super) fn record(&self) -> DriverRecord {
        let framework = self.framework.map_or_else(|| "-".to_owned(), |id| id.to_string());
        let cluster = self.cluster.map_or_else(|| "-".to_owned(), |id| format!("{:032x}", id.0));
        save(IDENTITY_KEY.to_owned(), &format!("{} {:032x} {framework} {cluster}", self.life, self.client.0))
    }

    pub(super) fn forget() -> DriverRecord {
        DriverRecord::Save { key: IDENTITY_KEY.to_owned(), value: None }
    }
}

impl Tracked {
    pub(super) fn record(&self, id: &TaskId) -> DriverRecord {
        // Agent and master number their updates apart, so the last one alone would not do.
        let seen: Vec<String> = self.seen.iter().map(|uuid| format!("{:032x}", uuid.0)).collect();
        let seen = if seen.is_empty() { "-".to_owned() } else { seen.join(",") };
        let gang = self.gang.map(|gang| format!(" {}", gang.0)).unwrap_or_default();
        save(format!("{TASK_PREFIX}{id}"), &format!("{} {} {seen}{gang}", self.agent, self.state))
    }
}

pub(super) fn term_record(term: Term) -> DriverRecord {
    save(TERM_KEY.to_owned(), &term.0.to_string())
}

pub(super) fn forget_term() -> DriverRecord {
    DriverRecord::Save { key: TERM_KEY.to_owned(), value: None }
}

/// The highest term that was heard of.
pub(super) fn read_term(saved: &BTreeMap<String, Vec<u8>>) -> Result<Term, SavedError> {
    let Some(value) = saved.get(TERM_KEY) else { return Ok(Term::default()) };
    let term = open(value).and_then(|fields| fields.first()?.parse().ok()).map(Term);
    let got = || String::from_utf8_lossy(value).chars().take(100).collect();
    term.ok_or_else(|| SavedError { key: TERM_KEY.to_owned(), expected: "a term", got: got() })
}

pub(super) fn forget_task(id: &TaskId) -> DriverRecord {
    DriverRecord::Save { key: format!("{TASK_PREFIX}{id}"), value: None }
}

fn save(key: String, fields: &str) -> DriverRecord {
    let line = format!("{VERSION} {fields}");
    DriverRecord::Save { key, value: Some(format!("{line} {:08x}", checksum(&line)).into_bytes()) }
}

/// FNV-1a; shows a torn or foreign record, which is all that is asked of it here.
fn checksum(line: &str) -> u32 {
    line.bytes().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// Reads the driver's own records; those of the policy are passed over.
pub(super) fn read(
    saved: &BTreeMap<String, Vec<u8>>,
) -> Result<(Option<Identity>, BTreeMap<TaskId, Tracked>), SavedError> {
    let (mut identity, mut tasks) = (None, BTreeMap::new());
    for (key, value) in saved.range(PREFIX.to_owned()..).take_while(|(key, _)| key.starts_with(PREFIX)) {
        let error = |expected| SavedError {
            key: key.clone(),
            expected,
            got: String::from_utf8_lossy(value).chars().take(100).collect(),
        };
        let fields = open(value).ok_or_else(|| error("a line of version v1 with its check sum"))?;
        if key == IDENTITY_KEY {
            identity =
                Some(read_identity(&fields).ok_or_else(|| error("life, client id, framework id and cluster id"))?);
        } else if let Some(id) = key.strip_prefix(TASK_PREFIX) {
            let id = TaskId::new(id).map_err(|_| error("a task id in the key"))?;
            tasks.insert(id, read_task(&fields).ok_or_else(|| error("agent, state, last updates and gang, if any"))?);
        }
    }
    Ok((identity, tasks))
}

/// The fields between version and check sum, if both are right.
fn open(value: &[u8]) -> Option<Vec<&str>> {
    let (line, sum) = std::str::from_utf8(value).ok()?.rsplit_once(' ')?;
    let intact = u32::from_str_radix(sum, 16).ok()? == checksum(line);
    let fields = line.strip_prefix(VERSION)?.strip_prefix(' ')?;
    intact.then(|| fields.split(' ').collect())
}

fn read_identity(fields: &[&str]) -> Option<Identity> {
    let [life, client, framework, cluster] = fields else { return None };
    let framework = unless_dash(framework).map(FrameworkId::from_str).transpose().ok()?;
    let cluster = unless_dash(cluster).map(hex).transpose().ok()?.map(ClusterId);
    Some(Identity { life: life.parse().ok()?, client: ClientId(hex(client).ok()?), framework, cluster })
}

fn read_task(fields: &[&str]) -> Option<Tracked> {
    let [agent, state, seen, gang @ ..] = fields else { return None };
    let state = TaskState::ALL.into_iter().find(|known| known.as_str() == *state)?;
    let gang = match gang {
        [] => None,
        [gang] => Some(CallId(gang.parse().ok()?)),
        _ => return None,
    };
    let mut task = Tracked::recovered(AgentId::from_str(agent).ok()?, state, gang);
    for uuid in unless_dash(seen).into_iter().flat_map(|seen| seen.split(',')) {
        task.seen.push_back(UpdateId(hex(uuid).ok()?));
    }
    Some(task)
}

/// A dash stands for what is not there.
fn unless_dash<'a>(field: &&'a str) -> Option<&'a str> {
    Some(*field).filter(|field| *field != "-")
}

fn hex(field: &str) -> Result<u128, ParseIntError> {
    u128::from_str_radix(field, 16)
}
