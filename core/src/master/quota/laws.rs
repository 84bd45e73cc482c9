//! Laws of quota, on random histories: the invariants are checked after every step by the test language.

use std::time::Duration;

use proptest::prelude::*;

use crate::allocator::quota::Force;
use crate::model::{OfferMode, TaskState};
use crate::testing::{Market, quota};

const ROLES: [&str; 4] = ["eng", "eng/ci", "eng/web", "ops"];
const AGENTS: [&str; 3] = ["a", "b", "c"];
/// Frameworks, one in each role but the first; the last takes exclusive offers.
const FRAMEWORKS: [&str; 3] = ["ci", "web", "ops"];

#[derive(Clone, Debug)]
enum Act {
    Launch { framework: usize, agent: usize, cpus: u64, priority: i32 },
    Finish { nth: usize },
    Limit { role: usize, cpus: u64, force: bool },
    Guarantee { role: usize, cpus: u64 },
    Free { role: usize },
    Demand { framework: usize, cpus: u64, count: u32, priority: i32 },
    Reconnect { agent: usize },
    Failover,
    Wait { millis: u64 },
}

fn act() -> impl Strategy<Value = Act> {
    let cpus = || 1..6_u64;
    prop_oneof![
        6 => (0..3_usize, 0..3_usize, cpus(), -2..3_i32)
            .prop_map(|(framework, agent, cpus, priority)| Act::Launch { framework, agent, cpus, priority }),
        3 => (0..20_usize).prop_map(|nth| Act::Finish { nth }),
        2 => (0..4_usize, 0..12_u64, any::<bool>()).prop_map(|(role, cpus, force)| Act::Limit { role, cpus, force }),
        2 => (0..4_usize, 0..8_u64).prop_map(|(role, cpus)| Act::Guarantee { role, cpus }),
        1 => (0..4_usize).prop_map(|role| Act::Free { role }),
        3 => (0..3_usize, cpus(), 0..4_u32, -2..3_i32)
            .prop_map(|(framework, cpus, count, priority)| Act::Demand { framework, cpus, count, priority }),
        1 => (0..3_usize).prop_map(|agent| Act::Reconnect { agent }),
        1 => Just(Act::Failover),
        3 => (0..7000_u64).prop_map(|millis| Act::Wait { millis }),
    ]
}

/// A market, and the tasks that run: framework, task, agent.
struct History {
    market: Market,
    live: Vec<(String, String, String)>,
    launched: u32,
}

impl History {
    fn new() -> Self {
        let mut market = Market::new();
        for agent in AGENTS {
            market.agent(agent, "cpus:8;mem:8192");
        }
        market.framework("ci", "eng/ci").framework("web", "eng/web");
        market.framework_with("ops", &["ops"], OfferMode::Exclusive);
        market.lines();
        Self { market, live: Vec::new(), launched: 0 }
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Launch { framework, agent, cpus, priority } => {
                self.launch(FRAMEWORKS[framework], AGENTS[agent], cpus, priority);
            }
            Act::Finish { nth } if nth < self.live.len() => {
                let (framework, task, agent) = self.live.remove(nth);
                self.market.update(&agent, &framework, &task, TaskState::Finished).acknowledge(&framework);
            }
            Act::Finish { .. } => {}
            Act::Limit { role, cpus, force } => {
                let force = if force { Force::Yes } else { Force::No };
                self.market.try_quotas(vec![(ROLES[role], Some(quota(&format!("cpus:{cpus}"), "")))], force);
            }
            Act::Guarantee { role, cpus } => {
                self.market.try_quotas(vec![(ROLES[role], Some(quota("", &format!("cpus:{cpus}"))))], Force::No);
            }
            Act::Free { role } => drop(self.market.try_quotas(vec![(ROLES[role], None)], Force::No)),
            Act::Demand { framework, cpus, count, priority } => {
                self.market.waits_for(FRAMEWORKS[framework], priority, &format!("cpus:{cpus}"), count);
            }
            Act::Reconnect { agent } => drop(self.market.agent_leaves(AGENTS[agent]).register(AGENTS[agent])),
            Act::Failover => {
                self.market.failover();
                for agent in AGENTS {
                    self.market.register(agent);
                }
                for framework in FRAMEWORKS {
                    self.market.subscribe(framework);
                }
            }
            Act::Wait { millis } => drop(self.market.wait(Duration::from_millis(millis))),
        }
        self.obey();
    }

    fn launch(&mut self, framework: &str, agent: &str, cpus: u64, priority: i32) {
        if !self.market.has_offer(framework, agent) {
            return;
        }
        self.launched += 1;
        let id = format!("t{}", self.launched);
        self.market.launch_urgent(framework, agent, &id, priority, &format!("cpus:{cpus}"), &[]);
    }

    /// The agents do what the master told them: they start tasks and end those that make way.
    fn obey(&mut self) {
        loop {
            let mut ended = Vec::new();
            for line in self.market.lines() {
                let words: Vec<&str> = line.split(' ').collect();
                match words.as_slice() {
                    ["launch", task, "on", agent] => {
                        let (framework, id) = task.split_once('/').expect("framework/task");
                        let row = (framework.to_owned(), id.to_owned(), (*agent).to_owned());
                        if !self.live.contains(&row) {
                            self.live.push(row);
                        }
                    }
                    ["preempt", task, "on", _] => ended.push((*task).to_owned()),
                    _ => {}
                }
            }
            if ended.is_empty() {
                return;
            }
            for task in ended {
                let Some(at) = self.live.iter().position(|(framework, id, _)| *task == format!("{framework}/{id}"))
                else {
                    continue;
                };
                let (framework, id, agent) = self.live.remove(at);
                self.market.update(&agent, &framework, &id, TaskState::Killed).acknowledge(&framework);
            }
        }
    }

    fn held_cpus(&self, role: &str) -> u64 {
        let role = crate::model::Role::new(role).expect("a role");
        let view = self.market.master.view();
        let held = view.roles.get(&role).map(|row| row.usage.held.get(&crate::model::ResourceName::Cpus));
        held.map_or(0, |held| held.0 / 1000)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_history_exceeds_a_limit(acts in proptest::collection::vec(act(), 1..60)) {
        let mut history = History::new();
        for act in &acts {
            history.act(act);
        }
    }

    #[test]
    fn a_feasible_guarantee_is_met_in_few_steps(
        acts in proptest::collection::vec(act(), 1..40),
        guarantee in 1..5_u64,
    ) {
        let mut history = History::new();
        for act in &acts {
            history.act(act);
        }
        for role in ROLES {
            history.act(&Act::Free { role: ROLES.iter().position(|other| *other == role).expect("it is one") });
        }
        let kept = format!("cpus:{guarantee}");
        history.market.set_quotas(vec![("eng/ci", Some(quota("", &kept)))], Force::Yes);
        // Filters of what was tried before end; nobody else goes on.
        history.market.wait(Duration::from_secs(10));
        for _ in 0..guarantee * 4 + 12 {
            let held = history.held_cpus("eng/ci");
            if held >= guarantee {
                return Ok(());
            }
            let count = u32::try_from(guarantee - held).expect("it is small");
            history.market.waits_for("ci", 5, "cpus:1", count).wait(Duration::from_secs(6));
            history.obey();
            history.market.wait(Duration::from_secs(1));
            history.obey();
            for agent in AGENTS {
                if history.held_cpus("eng/ci") < guarantee {
                    history.launch("ci", agent, 1, 5);
                    history.obey();
                }
            }
        }
        prop_assert!(history.held_cpus("eng/ci") >= guarantee, "holds {}", history.held_cpus("eng/ci"));
    }
}
