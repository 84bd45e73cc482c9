use super::*;
use crate::model::Term;

fn agent(seq: u64) -> Timer {
    Timer::AgentSilent(AgentId::new(Term(1), seq))
}

#[test]
fn the_earliest_comes_first_and_of_equals_the_one_that_was_set_first() {
    let mut timers = Timers::default();
    timers.set(Time(20), agent(1));
    timers.set(Time(10), agent(2));
    timers.set(Time(20), agent(3));
    assert_eq!(timers.next(), Some(Time(10)));
    assert_eq!(timers.pop(Time(9)), None);
    let fired: Vec<Timer> = std::iter::from_fn(|| timers.pop(Time(20))).collect();
    assert_eq!(fired, [agent(2), agent(1), agent(3)]);
    assert_eq!(timers.next(), None);
}

#[test]
fn what_is_cancelled_does_not_fire_and_is_not_waited_for() {
    let mut timers = Timers::default();
    let keys: Vec<TimerKey> = (1..=3).map(|seq| timers.set(Time(10), agent(seq))).collect();
    timers.cancel(keys[0]);
    timers.cancel(keys[1]);
    assert_eq!(timers.pop(Time(10)), Some(agent(3)));
    assert_eq!(timers.next(), None);
    let alone = timers.set(Time(30), agent(4));
    timers.cancel(alone);
    assert_eq!(timers.next(), None);
}

#[test]
fn the_key_of_one_that_has_fired_cancels_nothing() {
    let mut timers = Timers::default();
    let fired = timers.set(Time(10), agent(1));
    timers.pop(Time(10));
    timers.set(Time(10), agent(2));
    timers.cancel(fired);
    assert_eq!(timers.pop(Time(10)), Some(agent(2)));
}
