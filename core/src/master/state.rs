//! The rows of the master's state.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, LazyLock};

use smallvec::SmallVec;

use super::available::Available;
use super::capacity::Indexed;
use super::filters::Filters;
use super::leaving::Leaving;
use super::offer_list::OfferList;
use super::patience::Patience;
use super::registry::{Admission, AgentRecord, FrameworkRecord, KillRecord};
use super::rules::Marks;
use super::timers::TimerKey;
use super::view::AgentStatus;
use crate::allocator::reservations;
use crate::allocator::sorter::{ClientIndex, class_quantity, kind_quantity};
use crate::model::{
    Accept, Access, AgentId, Demand, Device, DeviceId, DeviceState, Flavor, FrameworkId, Guarantee, Milli, Offer,
    OfferId, OfferMode, PeerId, PriceKey, Quantities, ResourceName, Resources, Role, Shape, Share, Status, Task,
    TaskId, TaskKey, TaskState, Time, WallTime,
};
use crate::planted::{Fault, planted};

/// An agent that was admitted.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) record: AgentRecord,
    /// Which offer constraints admit it.
    pub(super) admitted: Marks,
    /// Whether it is in another region than the master.
    pub(super) is_remote: bool,
    pub(super) peer: Option<PeerId>,
    /// The number of that connection, or of the last one; zero if it was not counted.
    pub(super) connection: u64,
    pub(super) status: AgentStatus,
    /// Whether it has registered with this master and obeys no older one: then what runs on it is known.
    pub(super) heard: bool,
    /// What it has and no task holds; devices that may be given out among it.
    pub(super) free: Arc<Resources>,
    /// What exclusive offers lock of that.
    pub(super) locked: Arc<Resources>,
    /// What of its unreserved cpus and memory is kept for the tenants of its devices, beyond what they use already.
    pub(super) kept: Quantities,
    /// Tasks hold more than there is: its configuration shrank under them.
    pub(super) overcommitted: bool,
    pub(super) devices: BTreeMap<DeviceId, DeviceEntry>,
    /// The tasks that are charged to it: not terminal.
    pub(super) tasks: BTreeSet<TaskKey>,
    /// Every task on it whose end its framework has not acknowledged.
    pub(super) known: BTreeSet<TaskKey>,
    pub(super) offers: SmallVec<[(OfferId, ClientIndex); 4]>,
    /// What frameworks refused of it.
    pub(super) filters: Filters,
    /// What they refuse again and again.
    pub(super) patience: Patience,
    /// When the first of these ends.
    pub(super) filters_end: Option<TimerKey>,
    /// What the index of free capacity knows of it.
    pub(super) indexed: Indexed,
    /// Optimistic offers that were taken back because they were of no use, newest last: the framework's next one replaces them.
    pub(super) pruned: BTreeMap<FrameworkId, Vec<(Role, OfferId)>>,
    /// Accepts of an earlier term, answered when it is back or given up.
    pub(super) parked: Vec<(FrameworkId, Accept)>,
    pub(super) journal_degraded: bool,
    /// If it will be taken away.
    pub(super) leaving: Option<Leaving>,
    pub(super) silent: Option<TimerKey>,
    pub(super) turn: Option<TimerKey>,
    /// When the next of its reservations ends by itself.
    pub(super) expiry: Option<TimerKey>,
    /// When an offer was taken back last because others waited.
    pub(super) turned: Time,
}

/// What of an agent's free resources a role may use: those who see the same are offered the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sight {
    /// One bit for each flavor, in their order.
    flavors: u64,
    /// Whether some of it is reserved.
    pub(super) has_reserved: bool,
}

/// A device of an agent.
#[derive(Debug)]
pub(super) struct DeviceEntry {
    pub(super) device: Arc<Device>,
    pub(super) state: DeviceState,
    /// The quantities that stand for it: its kind, and its class if it has a model.
    pub(super) counts_as: SmallVec<[ResourceName; 2]>,
    /// The last tenancy that the agent said is over.
    pub(super) cleaned: u64,
    pub(super) since: WallTime,
}

impl DeviceEntry {
    pub(super) fn new(device: Arc<Device>, state: DeviceState, cleaned: u64, since: WallTime) -> Self {
        let mut counts_as = SmallVec::new();
        counts_as.push(kind_quantity(&device.kind));
        if !device.model.is_empty() {
            counts_as.push(class_quantity(&device.kind, &device.model));
        }
        Self { device, state, counts_as, cleaned, since }
    }

    /// How much of it may be given out, whatever its health.
    fn free_share(&self) -> Share {
        let is_cleaning = matches!(self.state, DeviceState::Cleaning { .. });
        if is_cleaning && planted(Fault::OfferCleaningDevice) { Share::WHOLE } else { self.state.free_share() }
    }

    fn is_healthy(&self) -> bool {
        self.device.health.is_usable() || planted(Fault::OfferSickDevice)
    }
}

impl Agent {
    /// Whether what runs on it is not known yet, and may soon be.
    pub(super) fn is_awaited(&self) -> bool {
        !self.heard && !matches!(self.status, AgentStatus::Unreachable | AgentStatus::Gone)
    }

    pub(super) fn new(record: AgentRecord, status: AgentStatus) -> Self {
        Self {
            free: record.resources.clone(),
            record,
            admitted: Marks::default(),
            is_remote: false,
            peer: None,
            connection: 0,
            status,
            heard: false,
            locked: nothing(),
            kept: Quantities::new(),
            overcommitted: false,
            devices: BTreeMap::new(),
            tasks: BTreeSet::new(),
            known: BTreeSet::new(),
            offers: SmallVec::new(),
            filters: Filters::default(),
            patience: Patience::default(),
            filters_end: None,
            indexed: Indexed::default(),
            pruned: BTreeMap::new(),
            parked: Vec::new(),
            journal_degraded: false,
            leaving: None,
            silent: None,
            turn: None,
            expiry: None,
            turned: Time::ZERO,
        }
    }

    /// A number from all that a round reads of it, so that it is in the caches then.
    pub(super) fn touch(&self) -> usize {
        let parts = [
            self.offers.len(),
            usize::from(self.is_usable()),
            usize::from(self.locked.is_empty()),
            usize::from(self.kept.is_empty()),
            usize::from(self.filters.is_empty()),
            usize::from(self.leaving.is_some()),
            usize::from(self.indexed.cpus.is_some()),
            self.devices.len(),
            Arc::strong_count(&self.record.info),
        ];
        parts.into_iter().fold(0, usize::wrapping_add)
    }

    /// Whether it can be given work now.
    pub(super) fn is_usable(&self) -> bool {
        self.status == AgentStatus::Active
            && self.heard
            && !self.journal_degraded
            && self.record.admission == Admission::Admitted
    }

    /// Whether some of its reservations ends by itself.
    pub(super) fn has_expiring(&self) -> bool {
        self.record.resources.iter().any(|(flavor, _)| reservations::expiry(flavor).is_some())
    }

    /// Whether all that is free is free for everybody.
    pub(super) fn is_unreserved(&self) -> bool {
        self.free.iter().all(|(flavor, _)| flavor.reservations.is_empty())
    }

    /// Which flavors of what is free `role` may use; none, if there are too many to tell them apart so.
    pub(super) fn sight_of(&self, role: &Role) -> Option<Sight> {
        let mut sight = Sight::default();
        let mut last: Option<(&Role, bool)> = None;
        for (at, (flavor, _)) in self.free.iter().enumerate() {
            let bit = 1_u64.checked_shl(u32::try_from(at).ok()?)?;
            let Some(owner) = flavor.role() else {
                sight.flavors |= bit;
                continue;
            };
            let is_for = match last {
                Some((known, is_for)) if known == owner => is_for,
                _ => flavor.is_for(role),
            };
            last = Some((owner, is_for));
            if is_for {
                sight.flavors |= bit;
                sight.has_reserved = true;
            }
        }
        Some(sight)
    }

    /// What everybody sees of what is free, where nothing is reserved.
    pub(super) fn common_sight(&self) -> Option<Sight> {
        let flavors = u32::try_from(self.free.iter().count()).ok().and_then(|count| 1_u64.checked_shl(count))?;
        Some(Sight { flavors: flavors - 1, has_reserved: false })
    }

    /// What of the free resources `role` may use.
    pub(super) fn free_for(&self, role: &Role) -> Arc<Resources> {
        if self.is_unreserved() { self.free.clone() } else { Arc::new(self.free.for_role(role)) }
    }

    /// Whether `free` is all that may be offered, and to everybody.
    pub(super) fn is_available_to_all(&self, free: &Arc<Resources>) -> bool {
        self.locked.is_empty() && Arc::ptr_eq(&self.free, free) && self.is_unreserved()
    }

    /// Whether exclusive offers lock all that is not reserved.
    pub(super) fn is_open_part_locked(&self) -> bool {
        !self.locked.is_empty() && self.free.is_open_part_taken(&self.locked)
    }

    /// What may be offered to `role`: free and not locked.
    pub(super) fn available(&self, role: &Role) -> Arc<Resources> {
        if self.locked.is_empty() { self.free_for(role) } else { Arc::new(self.free.left_for(role, &self.locked)) }
    }

    /// Whether exclusive offers lock all that is free: then nothing is left for anybody.
    pub(super) fn is_locked_whole(&self) -> bool {
        Arc::ptr_eq(&self.free, &self.locked)
    }

    /// An exclusive offer takes hold of `resources`.
    pub(super) fn lock(&mut self, resources: Arc<Resources>) {
        if self.locked.is_empty() {
            self.locked = resources;
        } else {
            Arc::make_mut(&mut self.locked).add(&resources);
        }
    }

    /// What an exclusive offer of `available`, of which it locks `locks`, is charged.
    pub(super) fn charged_for(&self, available: &Available, locks: &Resources) -> Quantities {
        if available.is_plain { available.quantities.clone() } else { self.quantities(locks) }
    }

    /// An exclusive offer lets go of `resources`.
    pub(super) fn unlock(&mut self, resources: &Arc<Resources>) {
        if Arc::ptr_eq(&self.locked, resources) {
            self.locked = nothing();
            return;
        }
        let unlocked = Arc::make_mut(&mut self.locked).subtract(&sole(resources));
        debug_assert!(unlocked, "an exclusive offer is locked while it stands");
    }

    /// The devices that may be given out, with how much of each.
    pub(super) fn free_devices(&self) -> Resources {
        let usable = self.devices.values().filter(|entry| entry.is_healthy());
        Resources::device_shares_of(usable.map(|entry| (entry.device.id.clone(), entry.free_share())))
    }

    /// What the agent adds to the cluster's total.
    pub(super) fn counted(&self) -> Quantities {
        let mut counted = self.record.resources.quantities();
        for entry in self.devices.values() {
            for name in &entry.counts_as {
                counted.set(name, counted.get(name).plus(Milli::from_whole(1)));
            }
        }
        counted
    }

    /// What `resources` of this agent count as in the sorter and for quota: scalars, and devices by kind and by class.
    pub(super) fn quantities(&self, resources: &Resources) -> Quantities {
        let mut counted = resources.quantities();
        for (id, Share(share)) in resources.device_shares() {
            if let Some(entry) = self.devices.get(id) {
                for name in &entry.counts_as {
                    counted.set(name, counted.get(name).plus(Milli(u64::from(share))));
                }
            }
        }
        counted
    }
}

/// What is locked of most agents, once for all of them.
fn nothing() -> Arc<Resources> {
    static NOTHING: LazyLock<Arc<Resources>> = LazyLock::new(Arc::default);
    NOTHING.clone()
}

/// The devices of most agents, likewise.
pub(super) fn no_devices() -> Arc<[Arc<Device>]> {
    static NONE: LazyLock<Arc<[Arc<Device>]>> = LazyLock::new(|| Arc::new([]));
    NONE.clone()
}

/// What of an exclusive offer nobody else may be offered: what is shared, and what may be taken back at any time, may be in several.
pub(super) fn sole(resources: &Arc<Resources>) -> Arc<Resources> {
    let is_sole = |flavor: &Flavor| flavor.access == Access::Sole && flavor.guarantee == Guarantee::Firm;
    if resources.iter().all(|(flavor, _)| is_sole(flavor)) {
        return resources.clone();
    }
    Arc::new(resources.without_shared().split_revocable().1)
}

/// A framework that was not removed.
#[derive(Debug)]
pub(super) struct Framework {
    pub(super) record: FrameworkRecord,
    pub(super) peer: Option<PeerId>,
    /// The number of that connection, or of the last one; zero if it was not counted.
    pub(super) connection: u64,
    pub(super) suppressed: BTreeSet<Role>,
    pub(super) demand: BTreeMap<Role, Demand>,
    /// The same as rows, for the view.
    pub(super) waiting: Arc<[(Role, Shape)]>,
    pub(super) tasks: BTreeSet<TaskId>,
    pub(super) offers: OfferList,
    /// What exclusive offers to it lock.
    pub(super) locked: Quantities,
    /// The framework in each of its roles.
    pub(super) clients: BTreeMap<Role, ClientIndex>,
    /// Tasks that ended and were acknowledged, oldest first.
    pub(super) completed: VecDeque<TaskId>,
    pub(super) away: Option<TimerKey>,
    pub(super) offers_made: u64,
    pub(super) offers_declined: u64,
}

impl Framework {
    pub(super) fn new(record: FrameworkRecord) -> Self {
        Self {
            record,
            peer: None,
            connection: 0,
            suppressed: BTreeSet::new(),
            demand: BTreeMap::new(),
            waiting: Arc::new([]),
            tasks: BTreeSet::new(),
            offers: OfferList::default(),
            locked: Quantities::new(),
            clients: BTreeMap::new(),
            completed: VecDeque::new(),
            away: None,
            offers_made: 0,
            offers_declined: 0,
        }
    }

    /// Whether it takes offers for `role` now.
    pub(super) fn takes_offers(&self, role: &Role) -> bool {
        self.peer.is_some() && self.record.info.roles.contains(role) && !self.suppressed.contains(role)
    }

    pub(super) fn mode(&self) -> OfferMode {
        self.record.info.offer_mode
    }
}

/// A task that its framework has not yet acknowledged the end of.
#[derive(Debug)]
pub(super) struct TaskEntry {
    pub(super) task: Task,
    pub(super) agent: AgentId,
    /// The first task of its group.
    pub(super) leader: TaskId,
    /// The newest state.
    pub(super) state: TaskState,
    /// The status that gave it, for people.
    pub(super) status: Status,
    /// What it is charged to its agent and role as, if it is; kept, because how devices count changes with what their agent reports.
    pub(super) charged: Option<Quantities>,
    /// What of that was charged to roles already, because it is reserved for them.
    pub(super) reserved: Vec<(Role, Quantities)>,
    /// The agent's update that its framework has not acknowledged.
    pub(super) outstanding: Option<Status>,
    /// The master's own update that its framework has not acknowledged.
    pub(super) notice: Option<Status>,
    pub(super) kill: Option<KillRecord>,
    /// Whether its role held more than its guarantee when it was launched, while another's was not met.
    pub(super) borrowed: bool,
    pub(super) launched: WallTime,
    pub(super) changed: WallTime,
}

impl TaskEntry {
    /// The update that its framework is to acknowledge next.
    pub(super) fn unacknowledged(&self) -> Option<&Status> {
        self.outstanding.as_ref().or(self.notice.as_ref())
    }
}

/// An offer that stands.
#[derive(Debug)]
pub(super) struct OfferEntry {
    pub(super) offer: Arc<Offer>,
    pub(super) framework: FrameworkId,
    pub(super) client: ClientIndex,
    /// When the framework's turn began: when the first of those that this one replaced was made.
    pub(super) made: Time,
    /// When this very offer was made.
    pub(super) issued: Time,
    pub(super) since: WallTime,
    pub(super) expiry: Option<TimerKey>,
    /// What it is charged as, if it locks.
    pub(super) charged: Quantities,
    /// Whether a row of it was shown.
    pub(super) is_shown: bool,
    /// Offers that this one replaced, whose acceptance may be on its way.
    pub(super) replaces: Vec<OfferId>,
}

/// Whether a connection numbered `number` was given up for the one that stands: it was opened before it, and only arrived later.
pub(super) fn is_stale(number: u64, peer: Option<PeerId>, newest: u64) -> bool {
    peer.is_some() && (1..newest).contains(&number) && !planted(Fault::StaleConnectionWins)
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PeerOf {
    Agent(AgentId),
    Framework(FrameworkId),
}

/// What has changed in this step and is shown to the read model at its end.
#[derive(Debug, Default)]
pub(super) struct Touched {
    pub(super) agents: Vec<AgentId>,
    /// Those of which exclusive offers lock more, or less.
    pub(super) locked: Vec<AgentId>,
    pub(super) frameworks: Vec<FrameworkId>,
    pub(super) tasks: BTreeSet<TaskKey>,
    pub(super) offers: Vec<OfferId>,
    pub(super) devices: BTreeSet<(AgentId, DeviceId)>,
    /// With those above them.
    pub(super) roles: BTreeSet<Role>,
    pub(super) prices: BTreeSet<PriceKey>,
}

impl Touched {
    /// What is held in the role has changed.
    pub(super) fn role(&mut self, role: &Role) {
        if !self.roles.contains(role) {
            self.roles.insert(role.clone());
        }
    }
}
