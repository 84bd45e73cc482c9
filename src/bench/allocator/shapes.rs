//! What the cluster of each shape looks like, after Mesos' own allocator benchmarks.

use std::collections::BTreeMap;
use std::sync::Arc;

use rialto_core::allocator::quota::Quota;
use rialto_core::master::{Command, Config};
use rialto_core::model::{
    Amounts, Flavor, Milli, OfferMode, Quantities, Reservation, ReservationKind, ResourceName, Resources, Role, Volume,
    VolumeId,
};

use super::cluster::Cluster;
use crate::cli::AllocatorShape;

/// What each agent has.
const AGENT: &str = "cpus:2;mem:1024;disk:4096;ports:[31000-32000]";
/// What it has more after an update.
const LARGER: &str = "cpus:4;mem:2048;disk:4096;ports:[31000-32000]";
/// How many labels a labelled reservation has.
const LABELS: usize = 10;
/// How many volumes lie on the reserved disk of an agent.
const VOLUMES: usize = 4;

/// A master as in production, but one that offers an agent to whoever wants it, however many offers that makes.
pub(super) fn config() -> Config {
    Config { offer_timeout_max: std::time::Duration::from_secs(24 * 3600), ..Config::default() }
}

/// `frameworks` subscribe: each to a role of its own where roles matter, else all to one.
pub(super) fn subscribe(cluster: &mut Cluster, shape: AllocatorShape, frameworks: usize, mode: OfferMode) {
    for number in 0..frameworks {
        cluster.subscribe(role_of(shape, number).as_str(), mode);
    }
}

fn role_of(shape: AllocatorShape, number: usize) -> Role {
    let name = match shape {
        AllocatorShape::Labels | AllocatorShape::Quota | AllocatorShape::Volumes => format!("role-{number}"),
        _ => "role".to_owned(),
    };
    Role::new(&name).expect("letters, digits and a dash are a role")
}

/// Every role gets a quota: in turn a small one, and one that is a large part of what its share would be.
pub(super) fn set_quotas(cluster: &mut Cluster, shape: AllocatorShape, agents: usize, frameworks: usize) {
    if shape != AllocatorShape::Quota {
        return;
    }
    let count = frameworks;
    let quotas = (0..count).map(|number| {
        let cpus = if number % 2 == 0 { 1 } else { (agents * 2 / count).max(2) } as u64;
        let guarantee = Quantities::of(Milli::from_whole(cpus), Milli::from_whole(cpus * 256));
        let limit = [(ResourceName::Cpus, Milli::from_whole(cpus * 2))].into_iter().collect();
        (role_of(shape, number), Some(Quota { limit, guarantee, priorities: None }))
    });
    let quotas = quotas.collect();
    cluster.command(Command::SetQuota { quotas, force: rialto_core::allocator::quota::Force::Yes });
}

/// What agent `number` has.
pub(super) fn resources(shape: AllocatorShape, number: usize, frameworks: usize) -> Resources {
    let mut all: Resources = AGENT.parse().expect("it is written as resources are");
    match shape {
        AllocatorShape::Labels => all.add(&labelled(number, frameworks)),
        AllocatorShape::Volumes => all.add(&volumes(number, frameworks)),
        _ => {}
    }
    all
}

/// What an agent has after an update.
pub(super) fn larger() -> Resources {
    LARGER.parse().expect("it is written as resources are")
}

/// A dynamic reservation with labels, as frameworks make them.
fn labelled(number: usize, frameworks: usize) -> Resources {
    let label = |at: usize| (Arc::from(format!("key-{at}")), Arc::from(format!("value-{number}-{at}")));
    let flavor = Flavor {
        reservations: vec![reservation(number, frameworks, (0..LABELS).map(label).collect())],
        ..Flavor::default()
    };
    let scalars = Quantities::of(Milli::from_whole(1), Milli::from_whole(512));
    Resources::flavored(flavor, Amounts { scalars, ..Amounts::default() })
}

fn volumes(number: usize, frameworks: usize) -> Resources {
    let mut all = Resources::new();
    for at in 0..VOLUMES {
        let id = VolumeId::new(&format!("volume-{at}")).expect("letters, digits and a dash are a volume's id");
        let flavor = Flavor {
            reservations: vec![reservation(number, frameworks, BTreeMap::new())],
            volume: Some(Volume::new(id, "data").expect("a word is a relative path")),
            ..Flavor::default()
        };
        let mut scalars = Quantities::new();
        scalars.set(&ResourceName::Disk, Milli::from_whole(256));
        all.add(&Resources::flavored(flavor, Amounts { scalars, ..Amounts::default() }));
    }
    all
}

fn reservation(number: usize, frameworks: usize, labels: BTreeMap<Arc<str>, Arc<str>>) -> Reservation {
    Reservation {
        role: role_of(AllocatorShape::Labels, number % frameworks),
        kind: ReservationKind::Dynamic,
        principal: Some(Arc::from("bench")),
        labels,
        expires: None,
    }
}
