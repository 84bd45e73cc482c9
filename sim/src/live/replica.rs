//! A framework of the cluster, as far as its declarations tell: it holds what it held, and places what it waits for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rialto_core::model::{
    Claim, Demand, ExecutorRef, Milli, Quantities, Refusal, Role, Shape, Share, Task, TaskId, TaskState, Time,
};
use rialto_core::scheduler::placement::{Needs, Packer, Placement, Strategy};
use rialto_core::scheduler::{Happening, Out, Scheduler};

use super::snapshot::{Framework, Running, Snapshot};
use crate::market::{Think, body};

/// What a framework is told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// All that ran is there again: what waits may start.
    Begin,
}

/// What waits, and when it started.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) role: Role,
    pub(super) shape: Shape,
    /// How many are not launched.
    pub(super) left: u32,
    /// When each started, in order.
    pub(super) started: Vec<Time>,
}

pub(super) struct Replica {
    /// What is not taken up yet.
    pub(super) missing: BTreeMap<usize, Held>,
    pub(super) waiting: Vec<Waiting>,
    roles: BTreeSet<Role>,
    has_begun: bool,
    /// How long what declares nothing runs; none means without end.
    run_time: Option<Duration>,
    launched: u64,
    /// By task: what it was launched for.
    tasks: BTreeMap<TaskId, Purpose>,
}

/// A task that ran, as it is taken up again.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) running: Running,
    machine: Arc<str>,
    needs: Needs,
}

#[derive(Clone, Debug)]
enum Purpose {
    TakenUp(usize, Box<Held>),
    Waited(usize),
}

impl Replica {
    pub(super) fn new(framework: &Framework, snapshot: &Snapshot, run_time: Option<Duration>) -> Self {
        let held = |running: &Running| Held {
            running: running.clone(),
            machine: snapshot.agents[running.agent].info.name.clone(),
            needs: needs_of(running, snapshot),
        };
        let waiting = framework.waiting.iter().map(|(role, shape)| Waiting {
            role: role.clone(),
            shape: shape.clone(),
            left: shape.count,
            started: Vec::new(),
        });
        let roles = framework.running.iter().map(|running| &running.role);
        Self {
            missing: framework.running.iter().map(held).enumerate().collect(),
            waiting: waiting.collect(),
            roles: roles.chain(framework.waiting.iter().map(|(role, _)| role)).cloned().collect(),
            has_begun: false,
            run_time,
            launched: 0,
            tasks: BTreeMap::new(),
        }
    }

    /// The roles that it takes offers for.
    pub(super) const fn roles(&self) -> &BTreeSet<Role> {
        &self.roles
    }

    /// Whether all that waits has started.
    pub(super) fn is_through(&self) -> bool {
        self.waiting.iter().all(|waiting| waiting.started.len() == waiting.shape.count as usize)
    }

    /// Takes up what ran, each on the machine where it was.
    fn take_up(&mut self, out: &mut Out<Think>) {
        for role in self.roles.clone() {
            let mut packer = Packer::new(&role, out.offers()).with_tasks_max(usize::MAX);
            let its: Vec<usize> =
                self.missing.iter().filter(|(_, held)| held.running.role == role).map(|(number, _)| *number).collect();
            for number in its {
                let held = &self.missing[&number];
                let there =
                    |host: &rialto_core::scheduler::placement::Host| (host.name() == &*held.machine).then_some(0);
                let Some(placement) = packer.place_ranked(&held.needs, Strategy::Pack, there) else { continue };
                let held = self.missing.remove(&number).expect("it was there a moment ago");
                let left = held.running.left.or(self.run_time);
                let task = self.task(&role, &placement, left, held.running.priority);
                self.tasks.insert(task.id.clone(), Purpose::TakenUp(number, Box::new(held)));
                packer.launch(&placement, task);
            }
            packer.submit(out, &Refusal::default());
        }
    }

    /// Places what waits, the first declared first.
    fn place(&mut self, out: &mut Out<Think>) {
        for role in self.roles.clone() {
            let mut packer = Packer::new(&role, out.offers()).with_tasks_max(usize::MAX);
            for number in 0..self.waiting.len() {
                let Waiting { shape, left, .. } = self.waiting[number].clone();
                if self.waiting[number].role != role {
                    continue;
                }
                let needs = needs_for(&shape);
                for _ in 0..left {
                    let Some(placement) = packer.place(&needs, Strategy::Pack) else { break };
                    let task = self.task(&role, &placement, shape.expected_run_time.or(self.run_time), shape.priority);
                    self.tasks.insert(task.id.clone(), Purpose::Waited(number));
                    self.waiting[number].left -= 1;
                    packer.launch(&placement, task);
                }
            }
            packer.submit(out, &Refusal::default());
        }
        self.declare(out);
    }

    /// What still waits; a role for which nothing does takes no offers, so that others see them.
    fn declare(&self, out: &mut Out<Think>) {
        for role in &self.roles {
            let its = self.waiting.iter().filter(|waiting| waiting.role == *role && waiting.left > 0);
            let shapes: Vec<Shape> =
                its.map(|waiting| Shape { count: waiting.left, ..waiting.shape.clone() }).collect();
            if shapes.is_empty() {
                out.suppress(role);
            } else {
                out.revive(role);
            }
            out.demand(role, Demand { shapes: shapes.into_iter().collect() });
        }
    }

    fn task(&mut self, role: &Role, placement: &Placement, runs: Option<Duration>, priority: i32) -> Task {
        self.launched += 1;
        Task {
            name: Arc::from(""),
            id: TaskId::new(&format!("t{}", self.launched)).expect("a letter and digits are an id"),
            role: role.clone(),
            resources: placement.resources.clone(),
            claims: Vec::new(),
            priority,
            kill_grace: Duration::ZERO,
            expected_run_time: runs,
            executor: ExecutorRef::Supervisor,
            body: body(runs),
        }
    }

    /// A task was not launched, or lost its place to one that is more important: it waits again.
    fn again(&mut self, task: &TaskId) {
        match self.tasks.remove(task) {
            Some(Purpose::TakenUp(number, held)) => drop(self.missing.insert(number, *held)),
            Some(Purpose::Waited(number)) => self.waiting[number].left += 1,
            None => {}
        }
    }

    fn runs(&mut self, now: Time, task: &TaskId) {
        if let Some(Purpose::Waited(number)) = self.tasks.get(task) {
            let waiting = &mut self.waiting[*number];
            // One that is started a second time has waited already.
            if waiting.started.len() < waiting.shape.count as usize {
                waiting.started.push(now);
            }
        }
    }

    fn go_on(&mut self, out: &mut Out<Think>) {
        if self.has_begun { self.place(out) } else { self.take_up(out) }
    }
}

impl Scheduler for Replica {
    type Command = Order;
    type Effect = Think;

    fn on_event(&mut self, now: Time, event: Happening<Order>, out: &mut Out<Think>) {
        match event {
            Happening::Offers => self.go_on(out),
            Happening::Command(Order::Begin) => {
                self.has_begun = true;
                self.place(out);
            }
            Happening::Rejected { tasks, .. } => {
                tasks.iter().for_each(|task| self.again(task));
                self.go_on(out);
            }
            Happening::Update(status) => match status.state {
                TaskState::Running => self.runs(now, &status.task),
                TaskState::Finished => drop(self.tasks.remove(&status.task)),
                state if state.is_terminal() && self.has_begun => {
                    // What was preempted is not taken up again: its framework may do so or not.
                    if let Some(Purpose::Waited(_)) = self.tasks.get(&status.task) {
                        self.again(&status.task);
                        self.place(out);
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }
}

/// The same place: its scalars, and these devices and no others.
fn needs_of(running: &Running, snapshot: &Snapshot) -> Needs {
    let devices = &snapshot.agents[running.agent].devices;
    let claim = |(id, Share(share)): &(rialto_core::model::DeviceId, Share)| {
        let device = devices.iter().find(|device| device.id == *id)?;
        let share =
            if *share == Share::WHOLE.0 { String::new() } else { format!(" share {}", Milli(u64::from(*share))) };
        format!("{}{share}: id == \"{}\"", device.kind, id.as_str()).parse::<Claim>().ok()
    };
    Needs { claims: running.devices.iter().filter_map(claim).collect(), ..Needs::new(running.scalars.clone()) }
}

fn needs_for(shape: &Shape) -> Needs {
    let mut resources = Quantities::new();
    shape.resources.quantities().iter().for_each(|(name, amount)| resources.set(name, amount));
    Needs {
        claims: shape.claims.clone(),
        ports: u16::try_from(shape.resources.port_count()).unwrap_or(u16::MAX),
        constraint: shape.constraint.clone(),
        ..Needs::new(resources)
    }
}
