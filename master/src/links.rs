//! Which connection leads to which agent, for requests between the shells.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rialto_core::model::AgentId;

use crate::engine::AgentItem;
use crate::mailbox::Mailbox;

/// The registered agents' mailboxes. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct AgentLinks(Arc<Mutex<HashMap<AgentId, Mailbox<AgentItem>>>>);

impl AgentLinks {
    /// `agent` is behind `mailbox` from now on.
    pub(crate) fn put(&self, agent: AgentId, mailbox: Mailbox<AgentItem>) {
        self.lock().insert(agent, mailbox);
    }

    /// `mailbox` is closed; if `agent` has connected anew meanwhile, that stays.
    pub(crate) fn remove(&self, agent: AgentId, mailbox: &Mailbox<AgentItem>) {
        let mut links = self.lock();
        if links.get(&agent).is_some_and(|current| current.is(mailbox)) {
            links.remove(&agent);
        }
    }

    /// The way to `agent`, if it is connected.
    pub(crate) fn get(&self, agent: AgentId) -> Option<Mailbox<AgentItem>> {
        self.lock().get(&agent).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AgentId, Mailbox<AgentItem>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
