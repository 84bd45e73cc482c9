use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::model::Term;

fn agent(number: u64) -> AgentId {
    AgentId::new(Term(1), number)
}

fn deck(numbers: impl Iterator<Item = u64>) -> Deck {
    let mut deck = Deck::default();
    numbers.for_each(|number| deck.insert(agent(number)));
    deck
}

#[test]
fn a_walk_comes_to_every_agent_of_all_its_decks_once() {
    for count in 0..60 {
        let decks = [deck(0..count), deck(100..100), deck(200..200 + count / 3)];
        let walk: Vec<AgentId> = Walk::new(decks.iter(), count * 7).collect();
        let all: BTreeSet<AgentId> = decks.iter().flat_map(Deck::iter).collect();
        assert_eq!(walk.len(), all.len());
        assert_eq!(walk.into_iter().collect::<BTreeSet<_>>(), all);
    }
}

#[test]
fn other_seeds_walk_in_other_orders_and_the_same_seed_in_the_same() {
    let deck = deck(0..1000);
    let first = |seed| Walk::new(std::iter::once(&deck), seed).take(20).collect::<Vec<_>>();
    let orders: BTreeSet<Vec<AgentId>> = (0..50).map(first).collect();
    assert_eq!(orders.len(), 50);
    assert_eq!(first(3), first(3));
}

#[test]
fn each_agent_is_among_the_first_about_as_often_as_any_other() {
    let deck = deck(0..97);
    let mut counts = BTreeMap::new();
    for seed in 0..9700 {
        Walk::new(std::iter::once(&deck), seed).take(10).for_each(|id| *counts.entry(id).or_insert(0_u32) += 1);
    }
    let (least, most) = (counts.values().min(), counts.values().max());
    assert_eq!(counts.len(), 97);
    assert!(least > Some(&850) && most < Some(&1150), "{least:?} to {most:?}");
}

#[test]
fn what_is_taken_out_is_not_met_and_what_comes_twice_is_met_once() {
    let mut deck = deck(0..10);
    deck.insert(agent(4));
    deck.remove(agent(0));
    deck.remove(agent(9));
    deck.remove(agent(9));
    deck.insert(agent(0));
    let met: BTreeSet<AgentId> = Walk::new(std::iter::once(&deck), 1).collect();
    assert_eq!(met, (0..9).map(agent).collect());
    assert_eq!(deck.iter().count(), 9);
}
