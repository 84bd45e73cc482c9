use super::language::{agent, new_agent};
use crate::agent::Input;

#[test]
fn an_agent_confirms_the_term_in_which_it_is_registered() {
    let mut a = new_agent();
    a.connect();
    a.expect_confirmed(Some(1));
    a.disconnect();
    a.new_term(2);
    a.connect();
    a.expect_confirmed(Some(2));
}

#[test]
fn a_term_is_confirmed_only_once_it_is_durable() {
    let mut a = agent();
    a.disconnect();
    a.new_term(2);
    a.step(Input::Connected);
    a.expect_report();
    a.disk_stalls();
    a.registered();
    a.expect_confirmed(Some(1));
    a.disk_recovers();
    a.expect_confirmed(Some(2));
}

#[test]
fn a_term_is_not_confirmed_while_the_journal_can_not_be_written() {
    let mut a = agent();
    a.journal_fails();
    a.disconnect();
    a.new_term(2);
    a.connect();
    a.expect_confirmed(Some(1));
    a.journal_works();
    a.expect_confirmed(Some(2));
}
