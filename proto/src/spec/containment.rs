//! What a task may use above what it asks for, and how it is kept apart.

use rialto_core::model::Milli;

use crate::convert::{At, Converted, expected, limits};
use crate::v1;

/// The most resource limits of a task.
pub const MAX_RLIMITS: usize = 32;
/// The resource limits that there are: what `ulimit` sets.
pub const RLIMITS: [&str; 15] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "sigpending",
    "stack",
];

/// What a task may use at most. Where a field is absent the agent decides: memory as asked for, processors as there are, and a number of
/// processes that no sane program has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Cores.
    pub cpus: Option<Milli>,
    /// Memory in MiB; more than it asked for is memory that it may lose to others.
    pub mem_mib: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// How a task is kept apart. The first of a group decides for all of it what the group shares: files and network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerSpec {
    /// It can write to its sandbox and `/tmp` only.
    pub read_only: bool,
    /// It has no network but a loopback of its own.
    pub private_network: bool,
    /// Limits of each of its processes.
    pub rlimits: Vec<Rlimit>,
    /// Whose files it sees instead of the machine's: `oci:FOLDER[:TAG]`, `oci-archive:FILE[:TAG]` or `docker://HOST/NAME[:TAG]`, each with
    /// `@sha256:DIGEST` or without.
    pub image: Option<String>,
}

/// A limit of each process, as `ulimit` sets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// One of [`RLIMITS`].
    pub name: String,
    /// What holds at first; `None` is no limit.
    pub soft: Option<u64>,
    /// To what it may be raised; `None` is no limit.
    pub hard: Option<u64>,
}

pub(super) fn limits_to_wire(limits: &Limits) -> Option<v1::TaskLimits> {
    let wire = v1::TaskLimits {
        cpus_milli: limits.cpus.map_or(0, |cpus| cpus.0),
        mem_mib: limits.mem_mib.unwrap_or(0),
        pids: limits.pids.unwrap_or(0),
    };
    (*limits != Limits::default()).then_some(wire)
}

pub(super) fn limits_from_wire(wire: Option<v1::TaskLimits>) -> Converted<Limits> {
    let wire = wire.unwrap_or_default();
    let at_most = |value: u64, max: u64| expected(value <= max, || format!("expected at most {max}, got {value}"));
    at_most(wire.cpus_milli, Milli::MAX.0).at("cpus_milli")?;
    at_most(wire.mem_mib, Milli::MAX.0 / 1000).at("mem_mib")?;
    let given = |value: u64| (value > 0).then_some(value);
    Ok(Limits { cpus: given(wire.cpus_milli).map(Milli), mem_mib: given(wire.mem_mib), pids: given(wire.pids) })
}

pub(super) fn container_to_wire(container: &ContainerSpec) -> Option<v1::ContainerSpec> {
    let rlimit = |limit: &Rlimit| v1::Rlimit { name: limit.name.clone(), soft: limit.soft, hard: limit.hard };
    let wire = v1::ContainerSpec {
        read_only: container.read_only,
        private_network: container.private_network,
        rlimits: container.rlimits.iter().map(rlimit).collect(),
        image: container.image.clone().unwrap_or_default(),
    };
    (*container != ContainerSpec::default()).then_some(wire)
}

pub(super) fn container_from_wire(wire: Option<v1::ContainerSpec>) -> Converted<ContainerSpec> {
    let wire = wire.unwrap_or_default();
    let count = wire.rlimits.len();
    expected(count <= MAX_RLIMITS, || format!("expected at most {MAX_RLIMITS}, got {count}")).at("rlimits")?;
    let rlimits =
        wire.rlimits.into_iter().enumerate().map(|(index, limit)| rlimit(limit).at_index(index).at("rlimits"));
    Ok(ContainerSpec {
        read_only: wire.read_only,
        private_network: wire.private_network,
        rlimits: rlimits.collect::<Converted<_>>()?,
        image: image(wire.image).at("image")?,
    })
}

fn image(reference: String) -> Converted<Option<String>> {
    let good = reference.len() <= limits::MAX_TEXT && !reference.contains(|c: char| c.is_control() || c == ' ');
    expected(good, || format!("expected the name of an image, got {reference:?}"))?;
    Ok(Some(reference).filter(|reference| !reference.is_empty()))
}

fn rlimit(wire: v1::Rlimit) -> Converted<Rlimit> {
    let v1::Rlimit { name, soft, hard } = wire;
    expected(RLIMITS.contains(&&*name), || format!("expected one of {}, got {name:?}", RLIMITS.join(", ")))
        .at("name")?;
    let ordered = soft.unwrap_or(u64::MAX) <= hard.unwrap_or(u64::MAX);
    expected(ordered, || "expected a soft limit that is not above the hard one".to_owned()).at("soft")?;
    Ok(Rlimit { name, soft, hard })
}
