//! `why`, for people: every reason that holds, most agents first, in sentences.

use std::fmt::Write;

use rialto_sdk::core::allocator::explain::{Cause, CauseKind, Explanation, Wait};
use rialto_sdk::core::model::TaskKey;

/// The explanation as text, with names for the tasks that `name` knows.
pub fn render(explanation: &Explanation, name: &dyn Fn(&TaskKey) -> String) -> String {
    let mut text = String::new();
    if let Some((key, state, message)) = &explanation.task {
        let detail = if message.is_empty() { String::new() } else { format!(": {message}") };
        line(&mut text, format_args!("{} is {state}{detail}", name(key)));
    } else if explanation.waits.is_empty() {
        line(&mut text, format_args!("{}: nothing waits", explanation.subject));
    }
    for wait in &explanation.waits {
        render_wait(&mut text, wait, name);
    }
    text
}

/// Whether the wait will not end unless the cluster changes.
pub fn is_hopeless(wait: &Wait) -> bool {
    let hopeless = |cause: &Cause| {
        matches!(
            cause.kind,
            CauseKind::NeverFits { .. } | CauseKind::NoSuchDevice { .. } | CauseKind::NoDeviceMatches { .. }
        )
    };
    wait.agents > 0 && wait.reasons.iter().any(hopeless)
}

fn render_wait(text: &mut String, wait: &Wait, name: &dyn Fn(&TaskKey) -> String) {
    let count = if wait.count == 1 { String::new() } else { format!(" (x{})", wait.count) };
    line(text, format_args!("{}{count} waits; it asks for {}", wait.shape, wait.asks));
    if wait.reasons.is_empty() {
        line(text, format_args!("  nothing stands in its way: it should be offered something now"));
    }
    for cause in &wait.reasons {
        line(text, format_args!("  {}", sentence(cause, wait.agents, name)));
    }
}

fn sentence(cause: &Cause, of: usize, name: &dyn Fn(&TaskKey) -> String) -> String {
    let agents = if cause.agents == 1 { format!("1 of {of} agents") } else { format!("{} of {of} agents", cause.agents) };
    match &cause.kind {
        CauseKind::NeverFits { nearest } => format!("never fits: no agent is large enough even when empty; closest: {nearest}"),
        CauseKind::NoSuchDevice { kind } => format!("never fits: no agent has a device of kind {kind}"),
        CauseKind::NoDeviceMatches { nearest } => format!("never fits: no device matches; closest: {nearest}"),
        CauseKind::NoDeviceHere { claim } => format!("{agents}: no device there for {claim}"),
        CauseKind::DevicesHeld { held } => {
            let held: Vec<String> = held.iter().map(|(device, key)| format!("{device} by {}", name(key))).collect();
            format!("{agents}: matching devices are held: {}", held.join(", "))
        }
        CauseKind::DevicesCleaning { devices } => format!("{agents}: devices are being cleaned: {}", devices.join(", ")),
        CauseKind::DevicesBroken { devices } => format!("{agents}: devices are out of order: {}", devices.join(", ")),
        CauseKind::NotEnoughFree { missing } => format!("{agents}: too little is free; at best {missing}"),
        CauseKind::ConstraintNotMet { nearest } => format!("{agents}: the constraint is not met: {nearest}"),
        CauseKind::AgentAway => format!("{agents}: not connected"),
        CauseKind::Filtered { seconds, reason } => {
            let why = reason.as_ref().map(|reason| format!(", because: {reason}")).unwrap_or_default();
            format!("{agents}: the framework refused it, for {seconds} s more at most{why}")
        }
        CauseKind::Offered { .. } => format!("{agents}: on offer to the framework right now"),
        CauseKind::OfferedToOthers { frameworks } => {
            let names: Vec<String> = frameworks.iter().map(ToString::to_string).collect();
            format!("{agents}: locked by offers to {}", names.join(", "))
        }
        CauseKind::Suppressed => "the framework wants no offers for this role now".to_owned(),
        CauseKind::FrameworkAway => "the framework is not connected".to_owned(),
    }
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    writeln!(text, "{what}").expect("writing to a text does not fail");
}
