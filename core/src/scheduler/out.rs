use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{
    AgentId, Demand, ExecutorId, GangPart, Offer, OfferId, OfferRules, Operation, Prices, Refusal, Role, Task,
    TaskGroup, TaskId,
};

/// What a policy wants, gathered while it handles one event.
///
/// Offers that it accepts or declines leave the book at once.
#[derive(Debug)]
pub struct Out<E> {
    pub(super) book: BTreeMap<OfferId, Arc<Offer>>,
    pub(super) prices: Prices,
    pub(super) wishes: Vec<Wish<E>>,
}

/// One thing that a policy wants, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish<E> {
    /// Take these offers and do that with them.
    Accept {
        /// Whose offers.
        agent: AgentId,
        /// Which.
        offers: Vec<OfferId>,
        /// What to do, in order.
        operations: Vec<Operation>,
        /// How to treat what is left.
        refusal: Refusal,
    },
    /// Take these offers and start that on all of the agents or on none.
    AcceptGang {
        /// What to start where.
        parts: Vec<GangPart>,
        /// How to treat what is left.
        refusal: Refusal,
    },
    /// Refuse these offers.
    Decline {
        /// Which.
        offers: Vec<OfferId>,
        /// For how long, and why.
        refusal: Refusal,
    },
    /// Wait for this in that role.
    Demand {
        /// Which role.
        role: Role,
        /// What; `None` takes the declaration back.
        demand: Option<Demand>,
    },
    /// Ask this of offers from now on.
    Rules(OfferRules),
    /// No offers for that role.
    Suppress(Role),
    /// Offers for that role again.
    Revive(Role),
    /// End that task.
    Kill {
        /// Which.
        task: TaskId,
        /// How long it gets; none means what the task says.
        grace: Option<Duration>,
    },
    /// Bytes for an executor.
    Message {
        /// Where it runs.
        agent: AgentId,
        /// Which.
        executor: ExecutorId,
        /// The bytes.
        data: Arc<[u8]>,
    },
    /// Keep this, or forget it.
    Save {
        /// The key.
        key: String,
        /// The bytes; none forgets the key.
        value: Option<Vec<u8>>,
    },
    /// Something for the outside.
    Effect(E),
    /// Remove the framework.
    Teardown,
}

impl<E> Default for Out<E> {
    fn default() -> Self {
        Self { book: BTreeMap::new(), prices: Prices::default(), wishes: Vec::new() }
    }
}

impl<E> Out<E> {
    /// No wishes yet, and these offers in the book: for a test that drives a policy by itself.
    pub fn over(offers: impl IntoIterator<Item = Offer>) -> Self {
        Self { book: offers.into_iter().map(|offer| (offer.id, Arc::new(offer))).collect(), ..Self::default() }
    }

    /// The same with what machines cost.
    #[must_use]
    pub fn with_prices(self, prices: Prices) -> Self {
        Self { prices, ..self }
    }

    /// What was wished for, in order: for a test that drives a policy by itself.
    pub fn into_wishes(self) -> Vec<Wish<E>> {
        self.wishes
    }

    /// The offers that stand, oldest first.
    pub fn offers(&self) -> impl Iterator<Item = &Offer> {
        self.book.values().map(|offer| &**offer)
    }

    /// The offers that stand and came after the offer `id`, oldest first.
    pub fn offers_after(&self, id: OfferId) -> impl Iterator<Item = &Offer> {
        self.book.range((Bound::Excluded(id), Bound::Unbounded)).map(|(_, offer)| &**offer)
    }

    /// The offer `id`, if it stands.
    pub fn offer(&self, id: OfferId) -> Option<&Offer> {
        self.book.get(&id).map(|offer| &**offer)
    }

    /// What machines cost, as far as the master has said so on this connection.
    pub const fn prices(&self) -> &Prices {
        &self.prices
    }

    /// Takes `offers`, all of one agent and one role, and does `operations` with them; what is left is refused for `refusal`.
    /// Does nothing if none of the offers stands any more.
    pub fn accept(&mut self, offers: &[OfferId], operations: Vec<Operation>, refusal: Refusal) {
        let taken: Vec<Arc<Offer>> = offers.iter().filter_map(|id| self.book.remove(id)).collect();
        let Some(agent) = taken.first().map(|offer| offer.agent) else { return };
        let offers = taken.iter().map(|offer| offer.id).collect();
        self.wishes.push(Wish::Accept { agent, offers, operations, refusal });
    }

    /// Takes the offers of `parts` and starts their groups on all of the agents or on none; what is left is refused for `refusal`.
    ///
    /// If the master or one of the agents refuses, all tasks of the gang come back in one
    /// [`Happening::Rejected`](super::Happening::Rejected); another try is likely to work. If a member then ends before it has run, the
    /// others are killed with `GANG_ABORTED`. Does nothing if one of the offers stands no more.
    pub fn accept_gang(&mut self, parts: Vec<GangPart>, refusal: Refusal) {
        let offers = || parts.iter().flat_map(|part| &part.offers);
        if parts.is_empty() || !offers().all(|id| self.book.contains_key(id)) {
            return;
        }
        offers().for_each(|id| drop(self.book.remove(id)));
        self.wishes.push(Wish::AcceptGang { parts, refusal });
    }

    /// Launches single tasks on one offer; what is left of it may be offered again at once.
    pub fn launch(&mut self, offer: OfferId, tasks: Vec<Task>) {
        let operations = tasks.into_iter().map(|task| Operation::Launch(TaskGroup::single(task))).collect();
        self.accept(&[offer], operations, Refusal::default());
    }

    /// Refuses `offers`.
    pub fn decline(&mut self, offers: &[OfferId], refusal: Refusal) {
        let offers: Vec<OfferId> = offers.iter().copied().filter(|id| self.book.remove(id).is_some()).collect();
        if !offers.is_empty() {
            self.wishes.push(Wish::Decline { offers, refusal });
        }
    }

    /// Says what the framework waits for in `role`. The driver passes it on only if it differs from what was said last.
    pub fn demand(&mut self, role: &Role, demand: Demand) {
        self.wishes.push(Wish::Demand { role: role.clone(), demand: Some(demand) });
    }

    /// Takes the declaration for `role` back: the framework is offered anything again.
    pub fn undeclare(&mut self, role: &Role) {
        self.wishes.push(Wish::Demand { role: role.clone(), demand: None });
    }

    /// Asks this of offers from now on, on every connection. Rules that name a role that the framework does not take offers for are
    /// refused, and those before them stay.
    pub fn rules(&mut self, rules: OfferRules) {
        self.wishes.push(Wish::Rules(rules));
    }

    /// No offers for `role` until it is revived.
    pub fn suppress(&mut self, role: &Role) {
        self.wishes.push(Wish::Suppress(role.clone()));
    }

    /// Offers for `role` again, whatever was refused before.
    pub fn revive(&mut self, role: &Role) {
        self.wishes.push(Wish::Revive(role.clone()));
    }

    /// Ends a task; `grace` overrides what the task says.
    pub fn kill(&mut self, task: &TaskId, grace: Option<Duration>) {
        self.wishes.push(Wish::Kill { task: task.clone(), grace });
    }

    /// Bytes for an executor.
    pub fn message(&mut self, agent: AgentId, executor: ExecutorId, data: Arc<[u8]>) {
        self.wishes.push(Wish::Message { agent, executor, data });
    }

    /// Keeps `value` under `key` for the framework's next life; nothing later in this event is seen before it is durable.
    pub fn save(&mut self, key: impl Into<String>, value: Vec<u8>) {
        self.wishes.push(Wish::Save { key: key.into(), value: Some(value) });
    }

    /// Forgets what was kept under `key`.
    pub fn forget(&mut self, key: impl Into<String>) {
        self.wishes.push(Wish::Save { key: key.into(), value: None });
    }

    /// Something for the outside.
    pub fn effect(&mut self, effect: E) {
        self.wishes.push(Wish::Effect(effect));
    }

    /// The framework is done: the master kills what still runs and forgets it.
    pub fn teardown(&mut self) {
        self.wishes.push(Wish::Teardown);
    }
}
