//! Why a job waits, in a line.

use rialto_sdk::MasterClient;
use rialto_sdk::core::allocator::explain::{Cause, CauseKind};
use rialto_sdk::core::master::{Command, Reply, Target};
use rialto_sdk::model::FrameworkId;

/// What the master says of the job called `name`.
pub(super) async fn why(client: &MasterClient, framework: FrameworkId, name: &str) -> String {
    let question = Command::Why(Target::Shape(framework, name.to_owned()));
    let explanation = match client.command(&question).await {
        Ok(Reply::Why(explanation)) => explanation,
        Ok(_) => return "the master does not say why".to_owned(),
        Err(error) => return format!("the master does not say why ({error})"),
    };
    let waits = explanation.waits.iter().find(|wait| &*wait.shape == name).or_else(|| explanation.waits.first());
    let reasons: Vec<String> = waits.into_iter().flat_map(|wait| &wait.reasons).map(text).collect();
    if reasons.is_empty() { "its turn will come".to_owned() } else { reasons.join("; ") }
}

fn text(cause: &Cause) -> String {
    match &cause.kind {
        CauseKind::NeverFits { nearest } => format!("it never fits: {nearest}"),
        CauseKind::NoSuchDevice { kind } => format!("no {kind} in the cluster"),
        CauseKind::NoDeviceMatches { nearest } => format!("no device matches: {nearest}"),
        CauseKind::DevicesHeld { held } => {
            let held: Vec<String> = held.iter().map(|(device, task)| format!("{device} is held by {task}")).collect();
            held.join(", ")
        }
        CauseKind::DevicesCleaning { devices } => format!("being cleaned: {}", devices.join(", ")),
        CauseKind::DevicesBroken { devices } => format!("out of order: {}", devices.join(", ")),
        CauseKind::NotEnoughFree { missing } => format!("too little is free: {missing}"),
        CauseKind::ConstraintNotMet { nearest } => format!("constraint: {nearest}"),
        CauseKind::AgentAway => format!("{} agents are away", cause.agents),
        CauseKind::Filtered { seconds, .. } => format!("refused by this pipeline for {seconds} s"),
        CauseKind::Offered { .. } => "it is on offer right now".to_owned(),
        CauseKind::OfferedToOthers { .. } => "it is on offer to others".to_owned(),
        CauseKind::Suppressed => "this pipeline wants no offers".to_owned(),
        CauseKind::FrameworkAway => "this pipeline is not connected".to_owned(),
    }
}
