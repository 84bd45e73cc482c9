use super::Pile;
use crate::model::{AgentId, Term};

const fn agent(seq: u64) -> AgentId {
    AgentId::new(Term(1), seq)
}

#[test]
fn each_is_taken_once_in_order() {
    let mut pile = Pile::default();
    pile.extend([3, 1, 1, 2, 3].map(agent));
    assert_eq!(pile.take(), [1, 2, 3].map(agent));
    assert!(pile.is_empty());
}

#[test]
fn however_often_they_come_there_are_few() {
    let mut pile = Pile::default();
    for number in 0..100_000 {
        pile.insert(agent(number % 300));
    }
    assert!(pile.ids.len() <= 600);
    assert_eq!(pile.take().len(), 300);
}
