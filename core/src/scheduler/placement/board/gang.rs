//! Tasks that start together or not at all, each wherever there is room.

use std::collections::BTreeMap;

use super::GpuBoard;
use crate::model::{AgentId, GangPart, OfferId, Task, TaskGroup};
use crate::scheduler::placement::Placement;
use crate::scheduler::placement::gpu::GpuAsk;
use crate::scheduler::placement::policy;

impl GpuBoard {
    /// The best places for `count` tasks alike, or none if one of them fits nowhere. Only machines on which nothing waits to be launched
    /// are used, for a gang takes offers whole. To be followed by [`GpuBoard::launch_gang`].
    pub fn place_gang(&mut self, ask: &GpuAsk, count: u32) -> Option<Vec<Placement>> {
        let busy = self.hide_busy();
        let mut placements = Vec::new();
        while placements.len() < count as usize
            && let Some(placement) = self.place(ask)
        {
            placements.push(placement);
        }
        busy.into_iter().for_each(|at| self.standing[at] = true);
        if placements.len() < count as usize {
            placements.iter().for_each(|placement| self.give_back(placement, ask));
            return None;
        }
        Some(placements)
    }

    /// The parts of a gang where its tasks were placed, for [`Out::accept_gang`](crate::scheduler::Out::accept_gang). What is left of
    /// their machines is offered anew.
    pub fn launch_gang(&mut self, members: Vec<(Placement, Task)>) -> Vec<GangPart> {
        let mut parts: BTreeMap<AgentId, GangPart> = BTreeMap::new();
        for (placement, task) in members {
            let agent = placement.agent;
            let part = parts.entry(agent).or_insert_with(|| GangPart { agent, offers: Vec::new(), groups: Vec::new() });
            // Taken with the first member there; later ones go with it.
            part.offers.extend(self.take_offer(agent));
            part.groups.push(TaskGroup::single(task));
        }
        parts.into_values().collect()
    }

    /// Takes machines on which something waits to be launched out of sight.
    fn hide_busy(&mut self) -> Vec<usize> {
        let busy: Vec<usize> = self.launching.iter().filter_map(|offer| self.by_offer.get(offer).copied()).collect();
        busy.iter().for_each(|at| self.standing[*at] = false);
        busy
    }

    fn take_offer(&mut self, agent: AgentId) -> Option<OfferId> {
        let at = *self.by_agent.get(&agent)?;
        let offer = self.slots[at].offer?;
        self.by_offer.remove(&offer);
        self.stands_no_more(at);
        Some(offer)
    }

    /// The place is not used after all.
    fn give_back(&mut self, placement: &Placement, ask: &GpuAsk) {
        let wanted = self.fragmentation.models().compile(ask);
        let Some(at) = self.by_agent.get(&placement.agent).copied() else { return };
        let slot = &mut self.slots[at];
        let node = &mut slot.scene.node;
        node.cpus.0 += wanted.cpus.0;
        node.mem.0 += wanted.mem.0;
        for (device, share) in placement.resources.device_shares() {
            let gpu = slot.devices.iter().position(|known| known == device);
            if let Some(left) = gpu.and_then(|gpu| node.gpus.get_mut(gpu)) {
                *left += share.0;
            }
        }
        slot.scene.fragmentation = self.fragmentation.weighted(&slot.scene.node);
        if let Some(size) = policy::size(&wanted) {
            slot.scene.held[size] -= 1;
        }
        self.changed(at);
    }
}
