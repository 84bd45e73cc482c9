//! What a master owes in each single step, as far as it can be told from what goes in and what comes out.

use std::collections::BTreeMap;

use rialto_core::gate::Output;
use rialto_core::master::registry::Registry;
use rialto_core::master::{Effect, Input, Master, Outbox};
use rialto_core::model::{
    AgentId, Call, CallId, Event, FromAgent, Offer, OfferId, PeerId, Principal, Regions, TaskKey, TaskState, ToAgent,
};

use crate::network::Life;
use crate::plan::Plan;

/// Follows one master process.
#[derive(Debug, Default)]
pub(crate) struct MasterWatch {
    agents: BTreeMap<PeerId, AgentId>,
    /// Accepts that were not answered at once: on which connection, under which number, for which agent.
    unanswered: BTreeMap<(PeerId, CallId), AgentId>,
    /// The connection on which each peer is known, and the life of the peer that opened it.
    stands: BTreeMap<Principal, (Life, PeerId)>,
    frameworks: BTreeMap<PeerId, usize>,
}

/// What it is told, as far as a duty comes of it.
#[derive(Debug)]
pub(crate) enum Told {
    /// An agent comes, or a framework, in that life of it; an agent with these tasks.
    Comes(PeerId, Principal, Option<Life>, Vec<(TaskKey, TaskState)>),
    /// An agent obeys no other master any more.
    Confirms(AgentId),
    Accepts(PeerId, CallId, AgentId),
    Else,
}

impl MasterWatch {
    /// Before a step. `life` is that of who speaks, if his end of the connection is still known.
    pub(crate) fn hear(&mut self, core: &Master, life: Option<Life>, input: &Input) -> Told {
        match input {
            Input::FromAgent { peer, principal, message: FromAgent::Register(report) } => {
                let key = |task: &rialto_core::model::TaskReport| TaskKey::new(task.framework, task.task.id.clone());
                let tasks = report.tasks.iter().map(|task| (key(task), task.state)).collect();
                Told::Comes(*peer, principal.clone(), life, tasks)
            }
            Input::FromFramework { peer, principal, call: Call::Subscribe(_) } => {
                let number = principal.as_str().strip_prefix('f').and_then(|number| number.parse::<usize>().ok());
                self.frameworks.extend(number.map(|number| (*peer, number - 1)));
                Told::Comes(*peer, principal.clone(), life, Vec::new())
            }
            Input::FromAgent { peer, message: FromAgent::Confirmed(term), .. } if *term == core.term() => {
                self.agents.get(peer).map_or(Told::Else, |agent| Told::Confirms(*agent))
            }
            Input::FromFramework { peer, call: Call::Accept(accept), .. } => {
                Told::Accepts(*peer, accept.id, accept.agent)
            }
            Input::PeerClosed(peer) => {
                self.forget(*peer);
                Told::Else
            }
            _ => Told::Else,
        }
    }

    /// After it. `registry` is what was durable before, if this master still leads and nothing is under way there.
    pub(crate) fn judge(
        &mut self,
        told: Told,
        core: &Master,
        registry: Option<&Registry>,
        plan: &Plan,
        out: &Outbox,
    ) -> Result<(), String> {
        let effects = || {
            out.iter().filter_map(|output| match output {
                Output::Effect(effect) | Output::Ungated(effect) => Some(effect),
                Output::Persist(_) => None,
            })
        };
        let mut admitted = None;
        let mut closed = Vec::new();
        for effect in effects() {
            match effect {
                Effect::ToAgent(peer, ToAgent::Registered { agent, .. }) => {
                    self.agents.insert(*peer, *agent);
                    admitted = Some(*peer);
                }
                Effect::ToFramework(peer, Event::Subscribed { .. }) => admitted = Some(*peer),
                Effect::ToFramework(peer, Event::Outcome(outcome)) => {
                    self.unanswered.remove(&(*peer, outcome.call));
                }
                Effect::ToFramework(peer, Event::Offers(offers)) => {
                    offers.iter().try_for_each(|offer| self.judge_offer(*peer, offer, plan))?;
                }
                Effect::Close(peer, _) => closed.push(*peer),
                _ => {}
            }
        }
        match told {
            Told::Comes(peer, principal, life, tasks) if admitted == Some(peer) => {
                self.judge_order(peer, &principal, life)?;
                judge_return(peer, &tasks, core, registry, &effects().collect::<Vec<_>>())?;
            }
            Told::Confirms(agent) => {
                if let Some(((peer, call), _)) = self.unanswered.iter().find(|(_, waits_for)| **waits_for == agent) {
                    return Err(format!("{agent} is back, and accept {} of #{} is not answered", call.0, peer.0));
                }
            }
            Told::Accepts(peer, call, agent) => {
                let answers = |effect: &Effect| matches!(effect, Effect::ToFramework(to, Event::Outcome(outcome)) if *to == peer && outcome.call == call);
                if !effects().any(answers) {
                    self.unanswered.insert((peer, call), agent);
                }
            }
            Told::Comes(..) | Told::Else => {}
        }
        closed.into_iter().for_each(|peer| self.forget(peer));
        Ok(())
    }

    /// Of two connections of one life of a peer the later one counts.
    fn judge_order(&mut self, peer: PeerId, principal: &Principal, life: Option<Life>) -> Result<(), String> {
        let Some(life) = life else { return Ok(()) };
        let before = self.stands.insert(principal.clone(), (life, peer));
        match before.filter(|(same, newest)| *same == life && *newest > peer) {
            Some((_, newest)) => Err(format!(
                "{principal} has given #{} up for #{}, and a late word on the former takes over",
                peer.0, newest.0
            )),
            None => Ok(()),
        }
    }

    /// An offer keeps to the rules of its framework.
    fn judge_offer(&self, peer: PeerId, offer: &Offer, plan: &Plan) -> Result<(), String> {
        let number = |name: &str| name.get(1..)?.parse::<usize>().ok()?.checked_sub(1);
        let framework = self.frameworks.get(&peer).and_then(|at| plan.frameworks.get(*at));
        let agent = number(&offer.info.name).and_then(|at| plan.agents.get(at));
        let (Some(framework), Some(agent)) = (framework, agent) else { return Ok(()) };
        let broken =
            |rule: &str, id: OfferId| Err(format!("offer {id} of {} is made against the {rule}", offer.info.name));
        if agent.is_far && framework.rules.regions == Regions::Home {
            return broken("regions that its framework takes", offer.id);
        }
        if framework.wants_rack && !agent.in_rack {
            return broken("constraints of its framework", offer.id);
        }
        let cpus = offer.resources.quantities().get(&rialto_core::model::ResourceName::Cpus);
        match framework.least_cpus.filter(|least| !framework.declares && cpus < *least) {
            Some(_) => broken("smallest offer that its framework takes", offer.id),
            None => Ok(()),
        }
    }

    fn forget(&mut self, closed: PeerId) {
        self.agents.remove(&closed);
        self.frameworks.remove(&closed);
        self.unanswered.retain(|(peer, _), _| *peer != closed);
        self.stands.retain(|_, (_, peer)| *peer != closed);
    }
}

/// An agent that is back is told what was decided about its tasks while it was away.
fn judge_return(
    peer: PeerId,
    tasks: &[(TaskKey, TaskState)],
    core: &Master,
    registry: Option<&Registry>,
    effects: &[&Effect],
) -> Result<(), String> {
    if tasks.is_empty() {
        return Ok(());
    }
    let view = core.view();
    let says = |wanted: &dyn Fn(&ToAgent) -> bool| {
        effects.iter().any(|effect| matches!(effect, Effect::ToAgent(to, message) if *to == peer && wanted(message)))
    };
    for (key, state) in tasks {
        let framework = key.framework;
        if !view.frameworks.contains_key(&framework)
            && !says(&|message| matches!(message, ToAgent::RemoveFramework(id) if *id == framework))
        {
            return Err(format!("{key} is reported, {framework} is no more, and the agent is not told to end it"));
        }
        let is_live = !state.is_terminal() && view.tasks.get(key).is_some_and(|row| !row.state.is_terminal());
        let is_doomed = registry.is_some_and(|registry| registry.kills.contains_key(key));
        if is_live && is_doomed && !says(&|message| matches!(message, ToAgent::Kill { task, .. } if task == key)) {
            return Err(format!("{key} is to be killed, by the registry, and its agent is not told so on its return"));
        }
    }
    Ok(())
}
