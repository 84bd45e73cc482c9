//! `why --json`: the explanation for programs.

use rialto_sdk::core::allocator::explain::{CauseKind, Explanation, Wait};
use serde_json::{Value, json};

/// The explanation as a document.
pub fn document(explanation: &Explanation) -> Value {
    let task = explanation.task.as_ref().map(|(key, state, message)| {
        json!({ "framework": key.framework.to_string(), "task": key.task.as_str(), "state": state.as_str(), "message": &**message })
    });
    let waits: Vec<Value> = explanation.waits.iter().map(wait).collect();
    json!({ "subject": explanation.subject, "task": task, "waits": waits })
}

fn wait(wait: &Wait) -> Value {
    let reasons: Vec<Value> =
        wait.reasons.iter().map(|cause| json!({ "agents": cause.agents, "reason": reason(&cause.kind) })).collect();
    json!({ "name": &*wait.shape, "asks": wait.asks, "count": wait.count, "agents": wait.agents, "reasons": reasons })
}

fn reason(kind: &CauseKind) -> Value {
    match kind {
        CauseKind::NeverFits { nearest } => json!({ "kind": "never_fits", "nearest": nearest }),
        CauseKind::NoSuchDevice { kind } => json!({ "kind": "no_such_device", "device_kind": &**kind }),
        CauseKind::NoDeviceMatches { nearest } => json!({ "kind": "no_device_matches", "nearest": nearest }),
        CauseKind::NoDeviceHere { claim } => json!({ "kind": "no_device_here", "claim": claim }),
        CauseKind::DevicesHeld { held } => {
            let held: Vec<Value> = held
                .iter()
                .map(|(device, key)| json!({ "device": device, "framework": key.framework.to_string(), "task": key.task.as_str() }))
                .collect();
            json!({ "kind": "devices_held", "held": held })
        }
        CauseKind::DevicesCleaning { devices } => json!({ "kind": "devices_cleaning", "devices": devices }),
        CauseKind::DevicesBroken { devices } => json!({ "kind": "devices_broken", "devices": devices }),
        CauseKind::NotEnoughFree { missing } => json!({ "kind": "not_enough_free", "missing": missing }),
        CauseKind::ConstraintNotMet { nearest } => json!({ "kind": "constraint_not_met", "nearest": nearest }),
        CauseKind::AgentAway => json!({ "kind": "agent_away" }),
        CauseKind::Filtered { seconds, reason } => {
            json!({ "kind": "filtered", "seconds": seconds, "reason": reason.as_deref() })
        }
        CauseKind::Offered { agents } => {
            json!({ "kind": "offered", "agents": agents.iter().map(ToString::to_string).collect::<Vec<_>>() })
        }
        CauseKind::OfferedToOthers { frameworks } => {
            json!({ "kind": "offered_to_others", "frameworks": frameworks.iter().map(ToString::to_string).collect::<Vec<_>>() })
        }
        CauseKind::Suppressed => json!({ "kind": "suppressed" }),
        CauseKind::FrameworkAway => json!({ "kind": "framework_away" }),
    }
}
