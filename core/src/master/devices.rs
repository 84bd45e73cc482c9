//! What the master sees to for devices beyond their states: that exclusive ones are not given out in parts, and that a person's word
//! about a quarantined one reaches its agent.

use super::state::Agent;
use super::{Master, Outbox};
use crate::model::{AgentId, DeviceId, DeviceMode, DeviceState, Reject, Share, SliceState, Task, ToAgent};

impl Master {
    /// Has the agent clean a quarantined device once more. What comes of it is in the agent's reports.
    pub(super) fn clear_device(&mut self, id: AgentId, device: DeviceId, out: &mut Outbox) -> Result<(), Reject> {
        let agent = self.agents.get(&id).ok_or(Reject::UnknownAgent(id))?;
        let entry = agent.devices.get(&device);
        let entry =
            entry.ok_or_else(|| Reject::invalid("device", format!("expected a device of {id}, got {device}")))?;
        let in_part = |state: &SliceState| matches!(state, SliceState::Quarantined { .. });
        let quarantined = matches!(entry.state, DeviceState::Quarantined { .. })
            || entry.state.slices().any(|(_, slice)| in_part(&slice.state));
        if !quarantined {
            return Err(Reject::invalid("device", format!("expected one that is quarantined, {device} is not")));
        }
        if agent.peer.is_none() {
            return Err(Reject::AgentAway(id));
        }
        self.to_agent(id, ToAgent::ClearDevice(device), out);
        Ok(())
    }
}

impl Agent {
    /// Refuses a task that names a part of a device that has none.
    pub(super) fn check_parts(&self, task: &Task) -> Result<(), Reject> {
        for (id, share) in task.resources.device_shares() {
            let mode = self.devices.get(id).map(|entry| entry.device.mode);
            if mode == Some(DeviceMode::Exclusive) && share != Share::WHOLE {
                let expected = format!("expected the whole of {id}, which is not shared, got {}‰ of it", share.0);
                return Err(Reject::invalid(format!("task {}: resources", task.id), expected));
            }
        }
        Ok(())
    }
}
