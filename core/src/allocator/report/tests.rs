//! The answers as people read them, in typical situations.

use std::time::Duration;

use crate::master::{Command, Reply, Target};
use crate::model::{OfferMode, TaskState};
use crate::testing::{Market, device, shape};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn why(market: &mut Market) -> String {
    let Ok(Reply::Why(explanation)) = market.ask(Command::Why(Target::Framework(market.framework_id("ci")))) else {
        panic!("why is answered")
    };
    super::why(&explanation)
}

fn when(market: &mut Market) -> String {
    let Ok(Reply::When(forecast)) = market.ask(Command::When(Target::Framework(market.framework_id("ci")))) else {
        panic!("when is answered")
    };
    super::when(&forecast)
}

fn help(market: &mut Market) -> String {
    let target = Target::Framework(market.framework_id("ci"));
    let Ok(Reply::WhatWouldHelp(advice)) = market.ask(Command::WhatWouldHelp(target)) else { panic!("it is answered") };
    super::what_would_help(&advice)
}

/// Twelve agents with four cores, of which `other` holds all on eleven and two on the last; `ci` waits for `shape`.
fn busy() -> Market {
    let mut market = Market::new();
    for number in 0..12 {
        market.agent(&format!("a{number}"), "cpus:4;mem:1024");
    }
    market.framework("other", "ops");
    for number in 0..12 {
        let cpus = if number == 11 { "cpus:2" } else { "cpus:4" };
        market.launch_for("other", &format!("a{number}"), &format!("t{number}"), cpus, secs(600 + number));
    }
    market.demand("other", vec![]).framework("ci", "eng");
    market
}

#[test]
fn all_is_busy() {
    let mut market = busy();
    market.demand("ci", vec![shape("build", "cpus:3;mem:512", &[], 2)]).agent_leaves("a0").wait(secs(20));
    assert_eq!(
        why(&mut market),
        "build (2 of them) waits for 20 s. Each asks for 3 cpus, 512 MiB of memory.\n\
         \x20 No agent has room for it now. Of 12 agents:\n\
         \x20 11  cpus short by 1 at least (a11); nothing else is in the way on 11\n\
         \x20  1  not connected; nothing else is in the way on 1\n"
    );
    assert_eq!(
        when(&mut market),
        "build (2 of them) waits for 20 s. Each asks for 3 cpus, 512 MiB of memory.\n\
         \x20 In 10 min at the latest, on a1: when 1 task ends as declared.\n\
         \x20 No estimate: too few like it have waited so far.\n"
    );
    assert_eq!(
        help(&mut market),
        "build (2 of them) waits for 20 s. Each asks for 3 cpus, 512 MiB of memory.\n\
         \x20 Any one of these would make room, the smallest change first:\n\
         \x20 1. ask for 1 cpus less, 2 in all (a11)\n\
         \x20 2. add 1 agent like a0; 2 for all that wait\n"
    );
}

#[test]
fn it_never_fits() {
    let mut market = busy();
    market.demand("ci", vec![shape("huge", "cpus:16;mem:512", &["fpga"], 1)]);
    assert_eq!(
        why(&mut market),
        "huge waits. It asks for 16 cpus, 512 MiB of memory, device fpga.\n\
         \x20 It never fits, unless agents come or change. Of 12 agents, even when empty:\n\
         \x20 12  cpus short by 12 at least, even when empty (a0)\n\
         \x20 12  no fpga there\n"
    );
    assert_eq!(
        when(&mut market),
        "huge waits. It asks for 16 cpus, 512 MiB of memory, device fpga.\n\
         \x20 Never, unless agents come or change; ask what-would-help.\n\
         \x20 No estimate: too few like it have waited so far.\n"
    );
}

#[test]
fn the_devices_are_held() {
    let mut market = Market::new();
    market.agent_with("a", "cpus:4", vec![device("g0", "gpu", "T4")]).framework("ci", "eng");
    market.launch_with("ci", "a", "t", "cpus:1", &["gpu"]).demand("ci", vec![shape("train", "cpus:1", &["gpu"], 1)]);
    assert_eq!(
        why(&mut market),
        "train waits. It asks for 1 cpu, device gpu.\n\
         \x20 No agent has room for it now. Of 1 agent:\n\
         \x20 1  devices held: g0 on a by F1-2/t\n"
    );
    assert_eq!(
        when(&mut market),
        "train waits. It asks for 1 cpu, device gpu.\n\
         \x20 No time can be promised: 1 task in its way did not say how long to run.\n\
         \x20 No estimate: too few like it have waited so far.\n"
    );
}

#[test]
fn it_was_refused() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("ci", "eng").demand("ci", vec![shape("build", "cpus:1", &[], 1)]);
    market.decline_because("ci", "a", 600, "too slow");
    assert_eq!(
        why(&mut market),
        "build waits. It asks for 1 cpu.\n\
         \x20 No agent has room for it now. Of 1 agent:\n\
         \x20 1  refused by the framework, for 10 min more at most; it said: too slow\n"
    );
}

#[test]
fn it_is_on_offer() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("ci", "eng").demand("ci", vec![shape("build", "cpus:1", &[], 1)]);
    assert_eq!(
        why(&mut market),
        "build waits. It asks for 1 cpu.\n\
         \x20 1 of 1 have room for it now. Of 1 agent:\n\
         \x20 1  on offer to the framework right now (a)\n"
    );
}

#[test]
fn others_have_it_locked() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework_with("old", &["ops"], OfferMode::Exclusive).framework("ci", "eng");
    market.demand("ci", vec![shape("build", "cpus:1", &[], 1)]);
    assert_eq!(
        why(&mut market),
        "build waits. It asks for 1 cpu.\n\
         \x20 No agent has room for it now. Of 1 agent:\n\
         \x20 1  cpus locked in offers to F1-2\n"
    );
    assert_eq!(
        when(&mut market),
        "build waits. It asks for 1 cpu.\n\
         \x20 In 30 s at the latest, on a: when offers to others expire.\n\
         \x20 No estimate: too few like it have waited so far.\n"
    );
}

#[test]
fn nothing_waits_or_there_is_nothing() {
    let mut market = Market::new();
    market.framework("ci", "eng");
    assert_eq!(why(&mut market), "framework F1-1 (ci): nothing waits\n");
    market.demand("ci", vec![shape("build", "cpus:1", &[], 1)]);
    assert_eq!(why(&mut market), "build waits. It asks for 1 cpu.\n  There are no agents yet.\n");
}

#[test]
fn a_task_is_where_it_is() {
    let mut market = Market::new();
    market.agent("a", "cpus:4").framework("ci", "eng").launch("ci", "a", "t", "cpus:1");
    market.update("a", "ci", "t", TaskState::Running).agent_leaves("a").wait(secs(5));
    let key = market.key("ci", "t");
    let Ok(Reply::Why(explanation)) = market.ask(Command::Why(Target::Task(key))) else { panic!("why is answered") };
    assert_eq!(
        super::why(&explanation),
        "F1-2/t is TASK_RUNNING for 5 s\n\
         \x20 It waits for agent a to come back, and counts as unreachable in 25 s. It may be running meanwhile.\n"
    );
}
