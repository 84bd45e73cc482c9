//! The agent's journal as bytes.
//!
//! A file is [`MAGIC`] and then frames, each one record of package `rialto.journal.v1`:
//!
//! ```text
//! length u32 | check sum of length u32 | check sum of the rest u32 | version u8 | message     (little-endian; length counts version and message)
//! ```
//!
//! The length has a check sum of its own, so that a damaged length is told apart from a write that was cut short: the first is an error,
//! because records that were acknowledged may follow, the second is the normal end after a crash. A journal is compacted by writing a new
//! file of records and renaming it over the old one.

use std::fmt;

use prost::Message;
use rialto_core::agent::{KillCause, Record};
use rialto_core::model::{Resources, Term};

use crate::convert::{
    At, ConvertError, Converted, Wire, duration, inside, limits, list, micros, one_of, optional, optional_text,
    required, to_list, to_prose, wire_enum,
};
use crate::generated::rialto::journal::v1;
use crate::generated::rialto::journal::v1::record::Record as Kind;

/// What a journal begins with; names its format and the version of the framing.
pub const MAGIC: [u8; 8] = *b"RIALTOJ1";
/// The version of the records.
pub const RECORD_VERSION: u8 = 1;
/// The largest record, in bytes.
pub const MAX_RECORD: usize = 64 << 20;
/// Length and the two check sums.
const HEADER_LEN: usize = 12;

/// Why bytes are not a journal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// It does not begin with [`MAGIC`].
    #[error("journal: expected the header RIALTOJ1, found {found}")]
    Magic {
        /// What is there instead.
        found: Shown,
    },
    /// A record that is not what was written, with more behind it.
    #[error("journal, byte {offset}: check sum does not match, and it is not the end")]
    Corrupt {
        /// Where the frame begins.
        offset: usize,
    },
    /// A record of another version.
    #[error("journal, byte {offset}: expected record version {RECORD_VERSION}, found {version}")]
    Version {
        /// Where the frame begins.
        offset: usize,
        /// The version that was found.
        version: u8,
    },
    /// A record that was written so, and is not acceptable.
    #[error("journal, byte {offset}: {error}")]
    Record {
        /// Where the frame begins.
        offset: usize,
        /// What is wrong with it.
        error: ConvertError,
    },
}

/// Bytes of a header, shown escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown(Vec<u8>);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// Appends the frame of `record` to `out`, which began with [`MAGIC`].
pub fn encode_journal(record: &Record, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend([0; HEADER_LEN]);
    out.push(RECORD_VERSION);
    to_wire(record).encode(out).expect("a vector grows as needed");
    let body = start + HEADER_LEN;
    let len = u32::try_from(out.len() - body).expect("core's limits keep records far below 4 GiB").to_le_bytes();
    let sum = crc32fast::hash(&out[body..]).to_le_bytes();
    out[start..start + 4].copy_from_slice(&len);
    out[start + 4..start + 8].copy_from_slice(&crc32fast::hash(&len).to_le_bytes());
    out[start + 8..body].copy_from_slice(&sum);
}

/// Reads the records of a journal. Stops at a write that was cut short; [`JournalReader::good_bytes`] then says how much to keep.
#[derive(Clone, Debug)]
pub struct JournalReader<'a> {
    bytes: &'a [u8],
    good: usize,
    failed: bool,
}

impl<'a> JournalReader<'a> {
    /// Reads `bytes`, a whole file. An empty one, or a part of the header, is a journal whose first write was cut short.
    ///
    /// # Errors
    ///
    /// [`JournalError::Magic`] if it is not a journal of this format.
    pub fn new(bytes: &'a [u8]) -> Result<Self, JournalError> {
        if bytes.starts_with(&MAGIC) {
            return Ok(Self { bytes, good: MAGIC.len(), failed: false });
        }
        if MAGIC.starts_with(bytes) {
            return Ok(Self { bytes: &[], good: 0, failed: false });
        }
        Err(JournalError::Magic { found: Shown(bytes[..bytes.len().min(MAGIC.len())].to_vec()) })
    }

    /// How many bytes, from the beginning, hold the header and whole records read so far: what the file is to be cut to before more is
    /// appended. 0 means that not even the header is there.
    pub const fn good_bytes(&self) -> usize {
        self.good
    }

    /// The body of the next frame; `None` at the end, clean or torn.
    fn next_body(&self) -> Result<Option<&'a [u8]>, JournalError> {
        let rest = self.bytes.get(self.good..).unwrap_or_default();
        let Some((header, rest)) = rest.split_first_chunk::<HEADER_LEN>() else { return Ok(None) };
        let corrupt = || JournalError::Corrupt { offset: self.good };
        let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let len = usize::try_from(word(0)).map_err(|_| corrupt())?;
        if crc32fast::hash(&header[..4]) != word(4) || len == 0 || len > MAX_RECORD {
            // Space that was allocated and never written reads as zeros.
            return if rest.iter().all(|byte| *byte == 0) { Ok(None) } else { Err(corrupt()) };
        }
        let Some(body) = rest.get(..len) else { return Ok(None) };
        if crc32fast::hash(body) == word(8) {
            return Ok(Some(body));
        }
        let is_last = rest[len..].iter().all(|byte| *byte == 0);
        if is_last { Ok(None) } else { Err(corrupt()) }
    }

    fn decode(&self, body: &[u8]) -> Result<Record, JournalError> {
        let (version, message) = body.split_first().expect("next_body() refuses empty ones");
        if *version != RECORD_VERSION {
            return Err(JournalError::Version { offset: self.good, version: *version });
        }
        let decoded = v1::Record::decode(message).map_err(ConvertError::here);
        decoded.and_then(from_wire).map_err(|error| JournalError::Record { offset: self.good, error })
    }

    fn read(&mut self) -> Result<Option<Record>, JournalError> {
        let Some(body) = self.next_body()? else { return Ok(None) };
        let record = self.decode(body)?;
        self.good += HEADER_LEN + body.len();
        Ok(Some(record))
    }
}

impl Iterator for JournalReader<'_> {
    type Item = Result<Record, JournalError>;

    /// The next record. Nothing follows an error.
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let record = self.read();
        self.failed = record.is_err();
        record.transpose()
    }
}

wire_enum!(KillCause, v1::KillCause, { Requested, FrameworkRemoved, Unhealthy, GangAborted, Preempted, AgentLeaving });

fn to_wire(record: &Record) -> v1::Record {
    let kind = match record {
        Record::Client(client) => Kind::Client(client.to_wire()),
        Record::Registered { agent, cluster } => {
            Kind::Registered(v1::Registered { agent: Some(agent.to_wire()), cluster: cluster.to_wire() })
        }
        Record::Term(term) => Kind::Term(term.0),
        Record::Launch(launch) => Kind::Launch(launch.to_wire()),
        Record::Update { framework, status } => {
            Kind::Update(v1::Update { framework: Some(framework.to_wire()), status: Some(status.to_wire()) })
        }
        Record::Acknowledged { task, uuid } => {
            Kind::Acknowledged(v1::Acknowledged { task: Some(task.to_wire()), uuid: uuid.to_wire() })
        }
        Record::Kill { task, cause } => Kind::Kill(v1::Kill { task: Some(task.to_wire()), cause: cause.to_wire() }),
        Record::FrameworkRemoved(framework) => Kind::FrameworkRemoved(framework.to_wire()),
        Record::Finished { framework, status, remember } => Kind::Finished(v1::Finished {
            framework: Some(framework.to_wire()),
            status: Some(status.to_wire()),
            remember_us: micros(*remember),
        }),
        Record::Forgotten { task } => Kind::Forgotten(task.to_wire()),
        Record::Device { device, state, generation, condemned } => Kind::Device(v1::DeviceChange {
            device: device.to_wire(),
            state: Some(state.to_wire()),
            generation: *generation,
            condemned: condemned.as_deref().map(to_prose),
        }),
        Record::Hold { gang, groups } => Kind::Hold(v1::Hold { gang: Some(gang.to_wire()), groups: to_list(groups) }),
        Record::Released(gang) => Kind::Released(gang.to_wire()),
        Record::Operated { id, reserved, doomed } => Kind::Operated(v1::Operated {
            id: Some(id.to_wire()),
            reserved: Some(reserved.to_wire()),
            doomed: to_list(doomed),
        }),
        Record::VolumeDestroyed(volume) => Kind::VolumeDestroyed(volume.to_wire()),
        Record::Life(life) => Kind::Life(*life),
    };
    v1::Record { record: Some(kind) }
}

fn from_wire(record: v1::Record) -> Converted<Record> {
    match one_of(record.record)? {
        Kind::Client(client) => inside(client, "client").map(Record::Client),
        Kind::Registered(registered) => from_registered(registered).at("registered"),
        Kind::Term(term) => Ok(Record::Term(Term(term))),
        Kind::Launch(launch) => inside(launch, "launch").map(Record::Launch),
        Kind::Update(update) => from_update(update).at("update"),
        Kind::Acknowledged(acknowledged) => from_acknowledged(acknowledged).at("acknowledged"),
        Kind::Kill(kill) => from_kill(kill).at("kill"),
        Kind::FrameworkRemoved(framework) => inside(framework, "framework_removed").map(Record::FrameworkRemoved),
        Kind::Finished(finished) => from_finished(finished).at("finished"),
        Kind::Forgotten(task) => Ok(Record::Forgotten { task: inside(task, "forgotten")? }),
        Kind::Device(change) => from_device(change).at("device"),
        Kind::Hold(hold) => from_hold(hold).at("hold"),
        Kind::Released(gang) => inside(gang, "released").map(Record::Released),
        Kind::Operated(operated) => from_operated(operated).at("operated"),
        Kind::VolumeDestroyed(volume) => inside(volume, "volume_destroyed").map(Record::VolumeDestroyed),
        Kind::Life(life) => Ok(Record::Life(life)),
    }
}

fn from_registered(registered: v1::Registered) -> Converted<Record> {
    Ok(Record::Registered {
        agent: required(registered.agent, "agent")?,
        cluster: inside(registered.cluster, "cluster")?,
    })
}

fn from_update(update: v1::Update) -> Converted<Record> {
    Ok(Record::Update {
        framework: required(update.framework, "framework")?,
        status: required(update.status, "status")?,
    })
}

fn from_acknowledged(acknowledged: v1::Acknowledged) -> Converted<Record> {
    Ok(Record::Acknowledged { task: required(acknowledged.task, "task")?, uuid: inside(acknowledged.uuid, "uuid")? })
}

fn from_kill(kill: v1::Kill) -> Converted<Record> {
    Ok(Record::Kill { task: required(kill.task, "task")?, cause: inside(kill.cause, "cause")? })
}

fn from_finished(finished: v1::Finished) -> Converted<Record> {
    Ok(Record::Finished {
        framework: required(finished.framework, "framework")?,
        status: required(finished.status, "status")?,
        remember: duration(finished.remember_us, "remember_us")?,
    })
}

fn from_device(change: v1::DeviceChange) -> Converted<Record> {
    Ok(Record::Device {
        device: inside(change.device, "device")?,
        state: required(change.state, "state")?,
        generation: change.generation,
        condemned: optional_text(change.condemned, "condemned")?,
    })
}

fn from_hold(hold: v1::Hold) -> Converted<Record> {
    Ok(Record::Hold {
        gang: required(hold.gang, "gang")?,
        groups: list(hold.groups, "groups", limits::MAX_OPERATIONS)?,
    })
}

fn from_operated(operated: v1::Operated) -> Converted<Record> {
    Ok(Record::Operated {
        id: required(operated.id, "id")?,
        reserved: optional::<Resources>(operated.reserved, "reserved")?.unwrap_or_default(),
        doomed: list(operated.doomed, "doomed", limits::MAX_VOLUMES)?,
    })
}
