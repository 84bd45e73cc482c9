use std::cell::Cell;
use std::collections::BTreeMap;

use super::*;
use crate::allocator::stock::{Printer, Standing};
use crate::model::{Resources, Term};

/// Agents with so many cores each; counts what it is asked.
#[derive(Default)]
struct Cores {
    cores: BTreeMap<AgentId, u64>,
    prints: Cell<usize>,
    stocks: Cell<usize>,
}

impl Fleet for Cores {
    fn agents(&self) -> impl Iterator<Item = AgentId> {
        self.cores.keys().copied()
    }

    fn print(&self, agent: AgentId) -> Option<Fingerprint> {
        self.prints.set(self.prints.get() + 1);
        self.cores.get(&agent).map(|cores| Printer::default().put(cores).finish())
    }

    fn stock(&self, agent: AgentId) -> Stock {
        self.stocks.set(self.stocks.get() + 1);
        let total: Resources = format!("cpus:{}", self.cores[&agent]).parse().expect("resources");
        Stock {
            standing: Standing::Ready,
            free: total.clone(),
            total,
            locked: Resources::new(),
            kept: crate::model::Quantities::new(),
            devices: Vec::new(),
        }
    }
}

fn agent(number: u64) -> AgentId {
    AgentId::new(Term(1), number)
}

fn sizes(classes: &Classes) -> Vec<usize> {
    classes.iter().map(|(_, class)| class.members.len()).collect()
}

#[test]
fn equal_agents_are_one_class_and_their_stock_is_taken_once() {
    let mut classes = Classes::default();
    let fleet = Cores { cores: (0..1000).map(|number| (agent(number), 4 + number % 2)).collect(), ..Cores::default() };
    classes.refresh(&fleet);
    assert_eq!((sizes(&classes), fleet.stocks.get()), (vec![500, 500], 2));
}

#[test]
fn only_what_changed_is_looked_at_again() {
    let mut classes = Classes::default();
    let mut fleet = Cores { cores: (0..1000).map(|number| (agent(number), 4)).collect(), ..Cores::default() };
    classes.refresh(&fleet);
    fleet.prints.set(0);
    fleet.cores.insert(agent(7), 8);
    fleet.cores.remove(&agent(8));
    for number in [7, 7, 8] {
        classes.mark(agent(number));
    }
    classes.refresh(&fleet);
    assert_eq!((sizes(&classes), fleet.prints.get()), (vec![998, 1], 2));
    assert_eq!((classes.agents(), classes.of(agent(8)), classes.vanished()), (999, None, 0));
    fleet.cores.insert(agent(7), 4);
    classes.mark(agent(7));
    classes.refresh(&fleet);
    assert_eq!((sizes(&classes), classes.vanished()), (vec![999], 1));
}

#[test]
fn a_great_many_changes_between_two_questions_take_no_room() {
    let mut classes = Classes::default();
    let fleet = Cores { cores: (0..10).map(|number| (agent(number), 4)).collect(), ..Cores::default() };
    classes.refresh(&fleet);
    (0..1000).for_each(|change| classes.mark(agent(change % 10)));
    assert!(matches!(classes.stale, Stale::All));
    classes.refresh(&fleet);
    assert_eq!(sizes(&classes), [10]);
}
