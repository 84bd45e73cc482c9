//! Asks the master why nothing of the job finds a place, and whether it ever will.

use rialto_sdk::MasterClient;
use rialto_sdk::core::allocator::explain::{CauseKind, Explanation, Wait};
use rialto_sdk::core::master;
use rialto_sdk::core::model::FrameworkId;

/// Why a stage of the framework can never be placed on this cluster; none if it can, or that is not known.
pub(crate) async fn never_fits(master: &MasterClient, framework: FrameworkId) -> Option<String> {
    let question = master::Command::Why(master::Target::Framework(framework));
    match master.command(&question).await {
        Ok(master::Reply::Why(explanation)) => hopeless(&explanation),
        Ok(master::Reply::Done) => None,
        Err(error) => {
            tracing::debug!(%error, "the master does not say why the job waits");
            None
        }
    }
}

fn hopeless(explanation: &Explanation) -> Option<String> {
    explanation.waits.iter().filter(|wait| wait.agents > 0).find_map(reason)
}

fn reason(wait: &Wait) -> Option<String> {
    let why = wait.reasons.iter().find_map(|cause| match &cause.kind {
        CauseKind::NeverFits { nearest } => {
            Some(format!("no agent is large enough even when empty; closest: {nearest}"))
        }
        CauseKind::NoSuchDevice { kind } => Some(format!("no agent has a device of kind {kind}")),
        CauseKind::NoDeviceMatches { nearest } => Some(format!("no device matches; closest: {nearest}")),
        _ => None,
    })?;
    Some(format!("stage {} asks for {}: {why}", wait.shape, wait.asks))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rialto_sdk::core::allocator::explain::Cause;

    use super::*;

    fn explanation(kind: CauseKind) -> Explanation {
        let wait = Wait {
            shape: Arc::from("map"),
            asks: "cpus:900".to_owned(),
            count: 1,
            agents: 3,
            reasons: vec![Cause { agents: 3, kind }],
        };
        Explanation { subject: "F1-1".to_owned(), waits: vec![wait], task: None }
    }

    #[test]
    fn only_what_can_never_be_is_hopeless() {
        let text = hopeless(&explanation(CauseKind::NeverFits { nearest: "alpha lacks cpus:898".to_owned() })).unwrap();
        assert_eq!(
            text,
            "stage map asks for cpus:900: no agent is large enough even when empty; closest: alpha lacks cpus:898"
        );
        let text = hopeless(&explanation(CauseKind::NoSuchDevice { kind: Arc::from("fpga") })).unwrap();
        assert!(text.ends_with("no agent has a device of kind fpga"), "{text}");
        assert_eq!(hopeless(&explanation(CauseKind::NotEnoughFree { missing: "cpus:1".to_owned() })), None);
    }
}
