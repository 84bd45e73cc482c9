//! What the members of a group may take of the disk, as far as the file system itself can be told.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rialto_core::model::{ResourceName, Resources};

use super::{Group, bytes_of_mib, sandbox};
use crate::quota::{self, Fill, Quotas};
use crate::supervisor::protocol;
use crate::volumes::Volumes;

/// A write that does not fit is refused before all room is taken: this part of a limit may be left then.
const LEFT_OVER: u64 = 64;
const LEFT_OVER_BYTES: std::ops::RangeInclusive<u64> = (64 << 10)..=(1 << 20);

/// What a group writes to below its supervisor's folder, without an image and with one.
const TEMPORARY: [&str; 2] = ["tmp", "var-tmp"];
const OF_IMAGE: [&str; 3] = ["tmp", "upper", "work"];

/// Of these what takes disk for longer than a moment.
pub(super) const SHARED: [&str; 3] = ["tmp", "var-tmp", "upper"];

/// How much a task may write to its sandbox, in bytes; 0 is no limit. What its volumes hold is theirs.
pub(super) fn of_sandbox(resources: &Resources) -> u64 {
    let own = resources.iter().filter(|(flavor, _)| flavor.volume.is_none());
    let milli = own.map(|(_, amounts)| amounts.scalars.get(&ResourceName::Disk).0).fold(0, u64::saturating_add);
    bytes_of_mib(milli)
}

/// Lets what a group writes to its own `/tmp`, or over its image, count as its first member's: folders of the supervisor's, made here before
/// it is told of the group.
pub(super) fn share(quotas: &Quotas, directory: &Path, spec: &protocol::Spec) {
    let namespaces = spec.container.as_ref().and_then(|container| container.namespaces.as_ref());
    let Some(namespaces) = namespaces.filter(|_| quotas.is_any()) else { return };
    let parts: &[&str] = if namespaces.image.is_some() { &OF_IMAGE } else { &TEMPORARY };
    let shared = quota::open(&spec.tasks[0].sandbox).and_then(|sandbox| {
        if quotas.fill(&sandbox).is_none() {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        parts.iter().map(|part| directory.join(part)).try_for_each(|part| {
            DirBuilder::new().recursive(true).create(&part)?;
            quota::join(&part, &sandbox)
        })
    });
    say(&directory.display().to_string(), shared);
}

impl Group {
    /// Has the file system hold sandboxes and volumes to their limits, where it can. One that it does not take is said, and the sandbox is
    /// measured all the same.
    pub(super) async fn limit_disk(&self, spec: &protocol::Spec) {
        let launcher = self.launcher.clone();
        if !launcher.quotas.is_any() {
            return;
        }
        let tasks = &self.order.launch.group.tasks;
        let limits: Vec<_> =
            spec.tasks.iter().cloned().zip(tasks.iter().map(|task| of_sandbox(&task.resources))).collect();
        let (volumes, links) = (launcher.layout.volumes(), Volumes::links(tasks));
        let limited = tokio::task::spawn_blocking(move || {
            for (task, bytes) in limits.iter().filter(|(_, bytes)| *bytes > 0) {
                let held = sandbox(task).and_then(|()| quota::open(&task.sandbox));
                let held = held.and_then(|folder| launcher.quotas.limit(&folder, *bytes));
                say(&task.sandbox.display().to_string(), held);
            }
            for link in &links {
                let held = volumes.open(link.volume());
                let held = held.and_then(|folder| launcher.quotas.limit(&folder, link.bytes));
                say(&format!("volume {}", link.volume()), held);
            }
        });
        // Cut short only when the agent stops.
        let _stopping = limited.await;
    }

    /// For people: that a member which has failed had no room left, if so.
    pub(super) async fn without_room(&self, member: usize) -> Option<String> {
        let launcher = self.launcher.clone();
        if !launcher.quotas.is_any() {
            return None;
        }
        let sandbox = launcher.layout.sandbox(&self.tasks[member]);
        let (volumes, mut links) = (launcher.layout.volumes(), Volumes::links(&self.order.launch.group.tasks));
        links.retain(|link| link.member == member);
        let shares = member == 0 && launcher.isolation.has_namespaces();
        let looked = tokio::task::spawn_blocking(move || {
            let what = if shares { "its sandbox with /tmp" } else { "its sandbox" };
            let own = quota::open(&sandbox).ok().map(|folder| (what.to_owned(), folder));
            let folder = |link: &crate::volumes::Link| volumes.open(link.volume()).ok();
            let shared = links.iter().filter_map(|link| Some((format!("volume {}", link.volume()), folder(link)?)));
            own.into_iter().chain(shared).find_map(|(what, folder)| {
                launcher.quotas.fill(&folder).filter(|fill| is_full(*fill)).map(|fill| words(&what, fill))
            })
        });
        looked.await.ok().flatten()
    }
}

fn say(what: &str, held: io::Result<()>) {
    if let Err(error) = held {
        tracing::warn!("{what}: the file system does not hold it to its limit: {error}");
    }
}

fn is_full(fill: Fill) -> bool {
    let left_over = (fill.limit_bytes / LEFT_OVER).clamp(*LEFT_OVER_BYTES.start(), *LEFT_OVER_BYTES.end());
    fill.limit_bytes > 0 && fill.used_bytes.saturating_add(left_over) >= fill.limit_bytes
}

fn words(what: &str, fill: Fill) -> String {
    let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
    let (used, limit) = (mib(fill.used_bytes), mib(fill.limit_bytes));
    format!("it failed with no room left: {what} had {used:.1} MiB of its limit of {limit:.1} MiB")
}

#[cfg(test)]
#[path = "room_tests.rs"]
mod tests;
