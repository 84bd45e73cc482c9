//! What a buggy framework says between what it means to say.

use std::time::Duration;

use rialto_core::model::{Accept, Asked, Call, CallId, FrameworkId, Refusal, TaskId, UpdateId};

use crate::network::{ConnId, Message, Way};
use crate::world::World;

/// How often, in thousandths of its calls.
const OFTEN: u64 = 150;

impl World {
    /// Beside `call` the framework says something that it has no business to say, now and then.
    pub(crate) fn babble(&mut self, framework: Option<FrameworkId>, conn: ConnId, call: &Call) {
        if self.healed.is_some() || !self.fault_dice.chance(OFTEN) {
            return;
        }
        let nobody = TaskId::new("nobody").expect("a literal id");
        // Numbers that no driver reaches.
        let id = CallId(u64::MAX - self.counts.steps);
        let foreign = self.leader.and_then(|life| self.masters.get(&life)).and_then(|node| {
            let (offer, row) = node.view.offers.iter().find(|(_, row)| Some(row.framework) != framework)?;
            Some((*offer, row.offer.agent))
        });
        let nonsense = match (self.fault_dice.between(0, 4), call, foreign) {
            (0, Call::Accept(_) | Call::AcceptGang(_) | Call::Kill { .. } | Call::Decline { .. }, _) => call.clone(),
            (1, Call::Acknowledge { agent, task, .. }, _) => {
                let uuid = UpdateId(self.fault_dice.wide());
                Call::Acknowledge { agent: *agent, task: task.clone(), uuid }
            }
            (2, _, Some((offer, _))) => {
                Call::Decline { offers: vec![offer], refusal: Refusal::of(Duration::from_secs(3600)) }
            }
            (3, _, Some((offer, agent))) => Call::Accept(Accept {
                id,
                agent,
                offers: vec![offer],
                operations: Vec::new(),
                refusal: Refusal::default(),
            }),
            (4, _, _) => Call::Reconcile(vec![Asked { task: nobody, agent: None }]),
            _ => Call::Kill { id, task: nobody, grace: None },
        };
        self.happened.insert("nonsense said");
        self.send(conn, Way::Up, Message::Call(nonsense));
    }
}
