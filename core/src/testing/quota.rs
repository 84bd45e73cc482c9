//! Sentences about quota and priority.

use super::{Market, device, shape, task};
use crate::allocator::quota::{Bounds, Force, Priorities, Quota, parse_amounts};
use crate::gate::Output;
use crate::master::{Command, Effect, Input, Outbox};
use crate::model::{
    Capability, Device, Flavor, Guarantee, Operation, Principal, Quantities, RequestId, Resources, Role, Shape,
    TaskGroup,
};

/// A quota, given as text.
///
/// # Panics
/// If the text is not that of amounts.
pub fn quota(limit: &str, guarantee: &str) -> Quota {
    let kept: Bounds = parse_amounts(guarantee).expect("amounts");
    let mut guarantee = Quantities::new();
    kept.iter().for_each(|(name, amount)| guarantee.set(name, *amount));
    Quota { limit: parse_amounts(limit).expect("amounts"), guarantee, priorities: None }
}

/// The same shape, with this priority.
pub fn urgent(priority: i32, shape: Shape) -> Shape {
    Shape { priority, ..shape }
}

impl Market {
    /// An agent called `name` registers with gpus of these models; they are called `NAME-0` and so on.
    pub fn agent_with_gpus(&mut self, name: &str, resources: &str, models: &[&str]) -> &mut Self {
        let gpu = |(at, model): (usize, &&str)| device(&format!("{name}-{at}"), "gpu", model);
        let gpus: Vec<Device> = models.iter().enumerate().map(gpu).collect();
        self.agent_with(name, resources, gpus)
    }

    /// The framework says from now on that it understands `TASK_KILLING`.
    pub fn hears_of_kills(&mut self, framework: &str) -> &mut Self {
        let side = self.frameworks.get_mut(framework).expect("a framework of that name");
        side.info.capabilities.insert(Capability::TaskKilling);
        self.subscribe(framework)
    }

    /// The framework says from now on that it takes what may be taken back at any time.
    pub fn takes_revocable(&mut self, framework: &str) -> &mut Self {
        let side = self.frameworks.get_mut(framework).expect("a framework of that name");
        side.info.capabilities.insert(Capability::RevocableResources);
        self.subscribe(framework)
    }

    /// The framework launches a task that uses `resources` until they are taken back.
    pub fn launch_revocable(&mut self, framework: &str, agent: &str, id: &str, resources: &str) -> &mut Self {
        let offer = self.offer_of(framework, agent);
        let plain: Resources = resources.parse().expect("resources");
        let mut task = task(id, offer.role.as_str(), "", &[]);
        for (flavor, amounts) in plain.iter() {
            let flavor = Flavor { guarantee: Guarantee::Revocable, ..flavor.clone() };
            task.resources.add(&Resources::flavored(flavor, amounts.clone()));
        }
        self.accept(framework, &offer, vec![Operation::Launch(TaskGroup::single(task))])
    }

    /// What the framework is offered of the agent until it is taken back.
    pub fn offered_revocable(&self, framework: &str, agent: &str) -> String {
        self.offer_of(framework, agent).resources.split_revocable().0.quantities().to_string()
    }

    /// How many offers of that agent the framework has that hold something that may be taken back.
    pub fn revocable_offers(&self, framework: &str, agent: &str) -> usize {
        let agent = self.agent_id(agent);
        let offers = self.frameworks[framework].offers.values();
        offers.filter(|offer| offer.agent == agent && offer.resources.is_revocable()).count()
    }

    /// An operator sets a role's quota; it is accepted.
    ///
    /// # Panics
    /// If it is refused.
    pub fn quota(&mut self, role: &str, limit: &str, guarantee: &str) -> &mut Self {
        self.set_quotas(vec![(role, Some(quota(limit, guarantee)))], Force::No)
    }

    /// An operator sets the priorities that a role's tasks may have, and nothing else.
    pub fn priorities(&mut self, role: &str, lowest: i32, highest: i32) -> &mut Self {
        let quota = Quota { priorities: Some(Priorities { lowest, highest }), ..Quota::default() };
        self.set_quotas(vec![(role, Some(quota))], Force::No)
    }

    /// An operator sets quotas; they are accepted.
    ///
    /// # Panics
    /// If they are refused.
    pub fn set_quotas(&mut self, quotas: Vec<(&str, Option<Quota>)>, force: Force) -> &mut Self {
        let refused = self.try_quotas(quotas, force);
        assert_eq!(refused, None, "the quota is accepted");
        self
    }

    /// An operator tries to set quotas; why that is refused, if it is.
    pub fn try_quotas(&mut self, quotas: Vec<(&str, Option<Quota>)>, force: Force) -> Option<String> {
        let named = |(role, quota)| (Role::new(role).expect("a role"), quota);
        let command = Command::SetQuota { quotas: quotas.into_iter().map(named).collect(), force };
        let input = Input::FromOperator { request: RequestId(0), principal: Principal::new("operator"), command };
        let mut out = Outbox::new();
        self.master.step(self.now, input, &mut out);
        let mut answer = None;
        out.retain(|output| match output {
            Output::Effect(Effect::Reply(_, reply)) => {
                answer = Some(reply.clone());
                false
            }
            _ => true,
        });
        self.take(out);
        self.master.check_invariants();
        self.check_view();
        answer.expect("an operator is answered").err().map(|reject| reject.to_string())
    }

    /// The framework launches a task of this priority on the newest offer that it has of the agent.
    pub fn launch_urgent(
        &mut self,
        framework: &str,
        agent: &str,
        id: &str,
        priority: i32,
        resources: &str,
        devices: &[&str],
    ) -> &mut Self {
        let offer = self.offer_of(framework, agent);
        let mut task = task(id, offer.role.as_str(), resources, devices);
        task.priority = priority;
        self.accept(framework, &offer, vec![Operation::Launch(TaskGroup::single(task))])
    }

    /// What the framework is offered of the agent now.
    pub fn offered(&self, framework: &str, agent: &str) -> String {
        self.offer_of(framework, agent).resources.to_string()
    }

    /// What a role, with all below it, holds, as the view says.
    pub fn held(&self, role: &str) -> String {
        let role = Role::new(role).expect("a role");
        self.master.view().roles.get(&role).map_or_else(String::new, |row| row.usage.held.to_string())
    }

    /// The framework waits for `count` of `resources`, with this priority, and for nothing else.
    pub fn waits_for(&mut self, framework: &str, priority: i32, resources: &str, count: u32) -> &mut Self {
        self.demand(framework, vec![urgent(priority, shape("s", resources, &[], count))])
    }
}
