//! What the master answers to questions.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use rialto_core::allocator::explain::{
    AgentRef, Cause, CauseKind, Clause, ClauseKind, DeviceNote, Explanation, Outlook, TaskNote, TaskWait, Wait, Waiting,
};
use rialto_core::allocator::help::{Advice, Effect, Step, StepKind, WaitAdvice};
use rialto_core::allocator::history::{Calibration, Estimate};
use rialto_core::allocator::stock::Standing;
use rialto_core::allocator::when::{Bound, Forecast, WaitForecast};

use super::*;

fn line() -> impl Strategy<Value = String> {
    prose().prop_map(|text| text.to_string())
}

fn number() -> impl Strategy<Value = usize> {
    any::<u32>().prop_map(|number| number as usize)
}

fn short() -> impl Strategy<Value = Milli> {
    any::<u64>().prop_map(Milli)
}

fn agent_ref() -> impl Strategy<Value = AgentRef> {
    (agent_id(), prose()).prop_map(|(id, name)| AgentRef { id, name })
}

fn standing() -> impl Strategy<Value = Standing> {
    prop_oneof![
        Just(Standing::Ready),
        Just(Standing::Degraded),
        Just(Standing::Away),
        Just(Standing::Unreachable),
        Just(Standing::Leaving)
    ]
}

pub(crate) fn explanation() -> impl Strategy<Value = Explanation> {
    (line(), vec(wait(), 0..2), option::of(task_note())).prop_map(|(subject, waits, task)| Explanation {
        subject,
        waits,
        task,
    })
}

fn task_note() -> impl Strategy<Value = TaskNote> {
    let waits_for = prop_oneof![
        Just(TaskWait::AgentsAnswer),
        Just(TaskWait::Preparation),
        option::of(duration()).prop_map(|given_up_in| TaskWait::AgentsReturn { given_up_in }),
        duration().prop_map(|grace| TaskWait::End { grace }),
        Just(TaskWait::Acknowledgement),
        (number(), number()).prop_map(|(holding, agents)| TaskWait::Gang { holding, agents }),
    ];
    (task_key(), task_state(), prose(), duration(), option::of(agent_ref()), option::of(waits_for)).prop_map(
        |(key, state, message, lasting, agent, waits_for)| TaskNote { key, state, message, lasting, agent, waits_for },
    )
}

fn waiting() -> impl Strategy<Value = Waiting> {
    (framework_id(), role(), prose(), line(), any::<u32>(), duration()).prop_map(
        |(framework, role, shape, asks, count, waited)| Waiting { framework, role, shape, asks, count, waited },
    )
}

fn wait() -> impl Strategy<Value = Wait> {
    let outlook = prop_oneof![Just(Outlook::Possible), Just(Outlook::Hopeless), Just(Outlook::Unknown)];
    let numbers = (number(), number(), number());
    (waiting(), outlook, numbers, vec(clause(), 0..3)).prop_map(
        |(what, outlook, (agents, ready, evaluations), clauses)| Wait {
            what,
            outlook,
            agents,
            ready,
            evaluations,
            clauses,
        },
    )
}

fn clause() -> impl Strategy<Value = Clause> {
    let kind = prop_oneof![
        Just(ClauseKind::Framework),
        Just(ClauseKind::Offers),
        Just(ClauseKind::Order),
        prose().prop_map(|resource| ClauseKind::Amount { resource }),
        (number(), line()).prop_map(|(number, text)| ClauseKind::Claim { number, text }),
        Just(ClauseKind::Claims),
        line().prop_map(|text| ClauseKind::Constraint { text }),
        Just(ClauseKind::Filters),
        Just(ClauseKind::Rules),
        Just(ClauseKind::Volumes),
        Just(ClauseKind::Quota),
        Just(ClauseKind::Agents),
    ];
    (kind, number(), number(), vec(cause(), 0..3)).prop_map(|(kind, agents, alone, causes)| Clause {
        kind,
        agents,
        alone,
        causes,
    })
}

fn cause() -> impl Strategy<Value = Cause> {
    let ours = prop_oneof![
        Just(CauseKind::FrameworkAway),
        Just(CauseKind::Suppressed),
        Just(CauseKind::Offered),
        (vec((framework_id(), role()), 0..3), number())
            .prop_map(|(others, smaller_share)| CauseKind::OthersFirst { others, smaller_share }),
        any::<u32>().prop_map(|standing| CauseKind::OfferLimit { standing }),
        vec(framework_id(), 0..3).prop_map(|frameworks| CauseKind::Locked { frameworks }),
        (duration(), option::of(prose())).prop_map(|(left, reason)| CauseKind::Filtered { left, reason }),
    ];
    let amounts = prop_oneof![
        short().prop_map(|short| CauseKind::TooSmall { short }),
        short().prop_map(|short| CauseKind::Reserved { short }),
        short().prop_map(|short| CauseKind::NotEnoughFree { short }),
        short().prop_map(|short| CauseKind::KeptForDevices { short }),
        Just(CauseKind::HeldForOthers),
        (role(), prose(), short(), short(), short())
            .prop_map(|(role, resource, limit, held, over)| CauseKind::OverQuota { role, resource, limit, held, over }),
        prose().prop_map(|region| CauseKind::OtherRegion { region }),
        line().prop_map(|unmet| CauseKind::NotAdmitted { unmet }),
        line().prop_map(|least| CauseKind::BelowLeast { least }),
        Just(CauseKind::VolumeElsewhere),
        Just(CauseKind::VolumeInUse),
        line().prop_map(|unmet| CauseKind::ConstraintNotMet { unmet }),
        standing().prop_map(|standing| CauseKind::AgentAway { standing }),
    ];
    let devices = prop_oneof![
        prose().prop_map(|kind| CauseKind::NoSuchDevice { kind }),
        (prose(), line()).prop_map(|(kind, nearest)| CauseKind::NoDeviceMatches { kind, nearest }),
        (number(), number()).prop_map(|(there, wanted)| CauseKind::TooFewDevices { there, wanted }),
        any::<bool>().prop_map(|even_empty| CauseKind::Topology { even_empty }),
        Just(CauseKind::NotTogether),
        vec(device_note(), 0..2).prop_map(|devices| CauseKind::DevicesHeld { devices }),
        vec(device_note(), 0..2).prop_map(|devices| CauseKind::DevicesCleaning { devices }),
        vec(device_note(), 0..2).prop_map(|devices| CauseKind::DevicesBroken { devices }),
    ];
    (number(), option::of(agent_ref()), prop_oneof![ours, amounts, devices]).prop_map(|(agents, nearest, kind)| Cause {
        agents,
        nearest,
        kind,
    })
}

fn device_note() -> impl Strategy<Value = DeviceNote> {
    (agent_ref(), prose(), option::of(task_key()), option::of(duration()), option::of(prose()))
        .prop_map(|(agent, device, holder, left, problem)| DeviceNote { agent, device, holder, left, problem })
}

pub(crate) fn forecast() -> impl Strategy<Value = Forecast> {
    (line(), vec(wait_forecast(), 0..2)).prop_map(|(subject, waits)| Forecast { subject, waits })
}

fn wait_forecast() -> impl Strategy<Value = WaitForecast> {
    let bound = prop_oneof![
        agent_ref().prop_map(|agent| Bound::Now { agent }),
        (duration(), agent_ref(), number(), number()).prop_map(|(after, agent, ends, ahead)| Bound::By {
            after,
            agent,
            ends,
            ahead
        }),
        (number(), number()).prop_map(|(undeclared, overdue)| Bound::Unknown { undeclared, overdue }),
        Just(Bound::Never),
        Just(Bound::TooIntricate),
    ];
    let estimate = (number(), duration(), duration()).prop_map(|(waits, median, p90)| Estimate { waits, median, p90 });
    let calibration = (any::<u64>(), any::<u64>(), any::<u64>())
        .prop_map(|(judged, within_median, within_p90)| Calibration { judged, within_median, within_p90 });
    (waiting(), bound, option::of(estimate), calibration)
        .prop_map(|(what, bound, estimate, calibration)| WaitForecast { what, bound, estimate, calibration })
}

pub(crate) fn advice() -> impl Strategy<Value = Advice> {
    let wait = (waiting(), number(), vec(step(), 0..3), number())
        .prop_map(|(what, ready, steps, evaluations)| WaitAdvice { what, ready, steps, evaluations });
    (line(), vec(wait, 0..2)).prop_map(|(subject, waits)| Advice { subject, waits })
}

fn step() -> impl Strategy<Value = Step> {
    let own = prop_oneof![
        Just(StepKind::Reconnect),
        Just(StepKind::Unsuppress),
        duration().prop_map(|left| StepKind::Revive { left }),
        vec(framework_id(), 0..3).prop_map(|frameworks| StepKind::ReleaseOffers { frameworks }),
        (prose(), short(), short()).prop_map(|(resource, by, to)| StepKind::Less { resource, by, to }),
        (line(), any::<u16>()).prop_map(|(claim, to)| StepKind::FewerDevices { claim, to }),
        line().prop_map(|claim| StepKind::WithoutTopology { claim }),
        (role(), prose(), short()).prop_map(|(role, resource, by)| StepKind::RaiseLimit { role, resource, by }),
    ];
    let fleet = prop_oneof![
        (line(), line(), vec(prose(), 0..3)).prop_map(|(claim, dropped, models)| StepKind::OtherDevices {
            claim,
            dropped,
            models
        }),
        line().prop_map(|dropped| StepKind::WithoutConstraint { dropped }),
        standing().prop_map(|standing| StepKind::RepairAgent { standing }),
        line().prop_map(|claim| StepKind::RepairDevices { claim }),
        (line(), number()).prop_map(|(claim, count)| StepKind::AddDevices { claim, count }),
        (any::<u32>(), any::<u32>()).prop_map(|(count, for_all)| StepKind::AddAgents { count, for_all }),
    ];
    let effect = prop_oneof![Just(Effect::Now), Just(Effect::Sometime)];
    (prop_oneof![own, fleet], option::of(agent_ref()), number(), effect)
        .prop_map(|(kind, agent, agents, effect)| Step { kind, agent, agents, effect })
}
