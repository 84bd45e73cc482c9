//! The JSON of `/api/why`, `/api/when` and `/api/what-would-help`, which the command line prints as well. Durations are in seconds, amounts
//! in the unit of their resource; agents and devices are fields of their own.

use std::time::Duration;

use serde_json::{Value, json};

use rialto_core::allocator::explain::{
    AgentRef, Cause, CauseKind, Clause, ClauseKind, DeviceNote, Explanation, Outlook, TaskNote, TaskWait, Wait, Waiting,
};
use rialto_core::allocator::help::{Advice, Effect, Step, StepKind, WaitAdvice};
use rialto_core::allocator::stock::Standing;
use rialto_core::allocator::when::{Bound, Forecast, WaitForecast};
use rialto_core::model::{FrameworkId, TaskKey};

/// Why something waits.
pub fn why(explanation: &Explanation) -> Value {
    let waits: Vec<Value> = explanation.waits.iter().map(wait).collect();
    json!({ "subject": explanation.subject, "task": explanation.task.as_ref().map(task), "waits": waits })
}

/// When something will run.
pub fn when(forecast: &Forecast) -> Value {
    let waits: Vec<Value> = forecast.waits.iter().map(wait_forecast).collect();
    json!({ "subject": forecast.subject, "waits": waits })
}

/// What would help something to run.
pub fn what_would_help(advice: &Advice) -> Value {
    let waits: Vec<Value> = advice.waits.iter().map(wait_advice).collect();
    json!({ "subject": advice.subject, "waits": waits })
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

fn agent(agent: &AgentRef) -> Value {
    json!({ "id": agent.id.to_string(), "name": &*agent.name })
}

fn key(key: &TaskKey) -> Value {
    json!({ "framework": key.framework.to_string(), "task": key.task.as_str() })
}

fn ids(frameworks: &[FrameworkId]) -> Vec<String> {
    frameworks.iter().map(ToString::to_string).collect()
}

fn task(note: &TaskNote) -> Value {
    let waits_for = note.waits_for.as_ref().map(|wait| match wait {
        TaskWait::AgentsAnswer => json!({ "kind": "agents_answer" }),
        TaskWait::Preparation => json!({ "kind": "preparation" }),
        TaskWait::AgentsReturn { given_up_in } => {
            json!({ "kind": "agents_return", "given_up_in_s": given_up_in.map(seconds) })
        }
        TaskWait::End { grace } => json!({ "kind": "end", "grace_s": seconds(*grace) }),
        TaskWait::Gang { holding, agents } => json!({ "kind": "gang", "holding": holding, "agents": agents }),
        TaskWait::Acknowledgement => json!({ "kind": "acknowledgement" }),
    });
    json!({
        "framework": note.key.framework.to_string(),
        "task": note.key.task.as_str(),
        "state": note.state.as_str(),
        "message": &*note.message,
        "lasting_s": seconds(note.lasting),
        "agent": note.agent.as_ref().map(agent),
        "waits_for": waits_for,
    })
}

/// An answer, with the shape that it is about.
fn told_of(what: &Waiting, mut answer: Value) -> Value {
    answer["framework"] = json!(what.framework.to_string());
    answer["role"] = json!(what.role.as_str());
    answer["name"] = json!(&*what.shape);
    answer["asks"] = json!(what.asks);
    answer["count"] = json!(what.count);
    answer["waited_s"] = json!(seconds(what.waited));
    answer
}

fn wait(wait: &Wait) -> Value {
    let outlook = match wait.outlook {
        Outlook::Possible => "possible",
        Outlook::Hopeless => "hopeless",
        Outlook::Unknown => "unknown",
    };
    told_of(
        &wait.what,
        json!({
            "outlook": outlook,
            "agents": wait.agents,
            "ready": wait.ready,
            "evaluations": wait.evaluations,
            "clauses": wait.clauses.iter().map(clause).collect::<Vec<_>>(),
        }),
    )
}

fn clause(clause: &Clause) -> Value {
    let part = match &clause.kind {
        ClauseKind::Framework => json!({ "kind": "framework" }),
        ClauseKind::Offers => json!({ "kind": "offers" }),
        ClauseKind::Order => json!({ "kind": "order" }),
        ClauseKind::Amount { resource } => json!({ "kind": "amount", "resource": &**resource }),
        ClauseKind::Claim { number, text } => json!({ "kind": "claim", "number": number, "claim": text }),
        ClauseKind::Claims => json!({ "kind": "claims" }),
        ClauseKind::Constraint { text } => json!({ "kind": "constraint", "constraint": text }),
        ClauseKind::Quota => json!({ "kind": "quota" }),
        ClauseKind::Volumes => json!({ "kind": "volumes" }),
        ClauseKind::Rules => json!({ "kind": "rules" }),
        ClauseKind::Filters => json!({ "kind": "filters" }),
        ClauseKind::Agents => json!({ "kind": "agents" }),
    };
    let causes: Vec<Value> = clause.causes.iter().map(|one| cause(&clause.kind, one)).collect();
    json!({ "clause": part, "agents": clause.agents, "alone": clause.alone, "causes": causes })
}

fn cause(clause: &ClauseKind, cause: &Cause) -> Value {
    let nearest = cause.nearest.as_ref().map(agent);
    let text = cause.words(clause);
    json!({ "agents": cause.agents, "nearest": nearest, "reason": reason(&cause.kind), "text": text })
}

fn reason(kind: &CauseKind) -> Value {
    let notes = |devices: &[DeviceNote]| devices.iter().map(device).collect::<Vec<_>>();
    match kind {
        CauseKind::FrameworkAway => json!({ "kind": "framework_away" }),
        CauseKind::Suppressed => json!({ "kind": "suppressed" }),
        CauseKind::Offered => json!({ "kind": "offered" }),
        CauseKind::OthersFirst { others, smaller_share } => {
            let others: Vec<Value> = others
                .iter()
                .map(|(framework, role)| json!({ "framework": framework.to_string(), "role": role.as_str() }))
                .collect();
            json!({ "kind": "others_first", "others": others, "smaller_share": smaller_share })
        }
        CauseKind::OfferLimit { standing } => json!({ "kind": "offer_limit", "standing": standing }),
        CauseKind::TooSmall { short } => json!({ "kind": "too_small", "short": short.as_f64() }),
        CauseKind::Reserved { short } => json!({ "kind": "reserved", "short": short.as_f64() }),
        CauseKind::KeptForDevices { short } => json!({ "kind": "kept_for_devices", "short": short.as_f64() }),
        CauseKind::HeldForOthers => json!({ "kind": "held_for_others" }),
        CauseKind::OverQuota { role, resource, limit, held, over } => json!({
            "kind": "over_quota",
            "role": role.as_str(),
            "resource": &**resource,
            "limit": limit.as_f64(),
            "held": held.as_f64(),
            "over": over.as_f64(),
        }),
        CauseKind::VolumeElsewhere => json!({ "kind": "volume_elsewhere" }),
        CauseKind::VolumeInUse => json!({ "kind": "volume_in_use" }),
        CauseKind::NotEnoughFree { short } => json!({ "kind": "not_enough_free", "short": short.as_f64() }),
        CauseKind::Locked { frameworks } => json!({ "kind": "locked", "frameworks": ids(frameworks) }),
        CauseKind::NoSuchDevice { kind } => json!({ "kind": "no_such_device", "device_kind": &**kind }),
        CauseKind::NoDeviceMatches { kind, nearest } => {
            json!({ "kind": "no_device_matches", "device_kind": &**kind, "nearest": nearest })
        }
        CauseKind::TooFewDevices { there, wanted } => {
            json!({ "kind": "too_few_devices", "there": there, "wanted": wanted })
        }
        CauseKind::Topology { even_empty } => json!({ "kind": "topology", "even_empty": even_empty }),
        CauseKind::NotTogether => json!({ "kind": "not_together" }),
        CauseKind::DevicesHeld { devices } => json!({ "kind": "devices_held", "devices": notes(devices) }),
        CauseKind::DevicesCleaning { devices } => json!({ "kind": "devices_cleaning", "devices": notes(devices) }),
        CauseKind::DevicesBroken { devices } => json!({ "kind": "devices_broken", "devices": notes(devices) }),
        CauseKind::ConstraintNotMet { unmet } => json!({ "kind": "constraint_not_met", "unmet": unmet }),
        CauseKind::OtherRegion { region } => json!({ "kind": "other_region", "region": &**region }),
        CauseKind::NotAdmitted { unmet } => json!({ "kind": "not_admitted", "unmet": unmet }),
        CauseKind::BelowLeast { least } => json!({ "kind": "below_least", "least": least }),
        CauseKind::Filtered { left, reason } => {
            json!({ "kind": "filtered", "left_s": seconds(*left), "reason": reason.as_deref() })
        }
        CauseKind::AgentAway { standing } => json!({ "kind": "agent_away", "standing": standing_word(*standing) }),
    }
}

fn device(note: &DeviceNote) -> Value {
    json!({
        "agent": agent(&note.agent),
        "device": &*note.device,
        "holder": note.holder.as_ref().map(key),
        "left_s": note.left.map(seconds),
        "problem": note.problem.as_deref(),
    })
}

const fn standing_word(standing: Standing) -> &'static str {
    match standing {
        Standing::Ready => "ready",
        Standing::Degraded => "degraded",
        Standing::Away => "away",
        Standing::Unreachable => "unreachable",
        Standing::Leaving => "leaving",
    }
}

fn wait_forecast(wait: &WaitForecast) -> Value {
    let bound = match &wait.bound {
        Bound::Now { agent: there } => json!({ "kind": "now", "agent": agent(there) }),
        Bound::By { after, agent: there, ends, ahead } => {
            json!({ "kind": "by", "after_s": seconds(*after), "agent": agent(there), "ends": ends, "ahead": ahead })
        }
        Bound::Unknown { undeclared, overdue } => {
            json!({ "kind": "unknown", "undeclared": undeclared, "overdue": overdue })
        }
        Bound::Never => json!({ "kind": "never" }),
        Bound::TooIntricate => json!({ "kind": "too_intricate" }),
    };
    let estimate = wait.estimate.map(|estimate| {
        json!({ "waits": estimate.waits, "median_s": seconds(estimate.median), "p90_s": seconds(estimate.p90) })
    });
    let calibration = json!({
        "judged": wait.calibration.judged,
        "within_median": wait.calibration.within_median,
        "within_p90": wait.calibration.within_p90,
    });
    told_of(
        &wait.what,
        json!({
            "bound": bound,
            "estimate": estimate,
            "calibration": calibration,
        }),
    )
}

fn wait_advice(wait: &WaitAdvice) -> Value {
    told_of(
        &wait.what,
        json!({
            "ready": wait.ready,
            "evaluations": wait.evaluations,
            "steps": wait.steps.iter().map(step).collect::<Vec<_>>(),
        }),
    )
}

fn step(step: &Step) -> Value {
    let change = match &step.kind {
        StepKind::Reconnect => json!({ "kind": "reconnect" }),
        StepKind::Unsuppress => json!({ "kind": "unsuppress" }),
        StepKind::Revive { left } => json!({ "kind": "revive", "left_s": seconds(*left) }),
        StepKind::ReleaseOffers { frameworks } => json!({ "kind": "release_offers", "frameworks": ids(frameworks) }),
        StepKind::RaiseLimit { role, resource, by } => {
            json!({ "kind": "raise_limit", "role": role.as_str(), "resource": &**resource, "by": by.as_f64() })
        }
        StepKind::Less { resource, by, to } => {
            json!({ "kind": "less", "resource": &**resource, "by": by.as_f64(), "to": to.as_f64() })
        }
        StepKind::FewerDevices { claim, to } => json!({ "kind": "fewer_devices", "claim": claim, "to": to }),
        StepKind::WithoutTopology { claim } => json!({ "kind": "without_topology", "claim": claim }),
        StepKind::OtherDevices { claim, dropped, models } => {
            let models: Vec<&str> = models.iter().map(|model| &**model).collect();
            json!({ "kind": "other_devices", "claim": claim, "dropped": dropped, "models": models })
        }
        StepKind::WithoutConstraint { dropped } => json!({ "kind": "without_constraint", "dropped": dropped }),
        StepKind::RepairAgent { standing } => json!({ "kind": "repair_agent", "standing": standing_word(*standing) }),
        StepKind::RepairDevices { claim } => json!({ "kind": "repair_devices", "claim": claim }),
        StepKind::AddDevices { claim, count } => json!({ "kind": "add_devices", "claim": claim, "count": count }),
        StepKind::AddAgents { count, for_all } => json!({ "kind": "add_agents", "count": count, "for_all": for_all }),
    };
    json!({
        "change": change,
        "agent": step.agent.as_ref().map(agent),
        "agents": step.agents,
        "at_once": step.effect == Effect::Now,
    })
}
