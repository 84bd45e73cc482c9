//! That a member took more disk than it may: kept in the supervisor's folder before the member is killed for it, so that an agent which
//! comes later knows why the member ended.

use std::fs;
use std::path::Path;

use super::{Group, blocking};
use crate::crash;
use crate::disk::Excess;
use crate::supervisor::client;

const FILE: &str = "excess.json";

/// What an earlier agent has kept; nothing if it can't be read, since then the end is told without its reason.
pub(super) fn kept(directory: &Path) -> Vec<Excess> {
    let Ok(bytes) = fs::read(directory.join(FILE)) else { return Vec::new() };
    serde_json::from_slice(&bytes).unwrap_or_default()
}

impl Group {
    /// Notes an excess, here and for later agents. One that can't be kept is acted upon all the same.
    pub(super) async fn exceeded(&mut self, excess: Excess) {
        self.members[excess.member].excess = Some(excess);
        let all: Vec<Excess> = self.members.iter().filter_map(|member| member.excess).collect();
        let directory = self.directory.clone();
        let kept = blocking(move || client::keep(&directory, FILE, &all)).await;
        if let Err(error) = kept {
            tracing::warn!(group = %self.tasks[0], "why it is killed can't be kept: {error}");
        }
        crash::point("group: with an excess kept");
    }

    /// Takes up what an earlier agent has kept, and sees to it that those are killed, if they were not.
    pub(super) fn recall(&mut self, excesses: Vec<Excess>) {
        for excess in excesses {
            let Some(member) = self.members.get_mut(excess.member) else { continue };
            member.excess = Some(excess);
            // There is room for one of each member.
            let _room = self.exceed.try_send(excess);
        }
    }
}
