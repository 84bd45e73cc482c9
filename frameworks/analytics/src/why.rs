//! Asks the master why nothing of the job finds a place, and whether it ever will.

use rialto_sdk::MasterClient;
use rialto_sdk::core::allocator::explain::{Explanation, Wait};
use rialto_sdk::core::master;
use rialto_sdk::core::model::FrameworkId;

/// So many reasons are told in a line.
const SUMMARY_MAX: usize = 3;

/// Why a stage of the framework can never be placed on this cluster; none if it can, or that is not known.
pub(crate) async fn never_fits(master: &MasterClient, framework: FrameworkId) -> Option<String> {
    let question = master::Command::Why(master::Target::Framework(framework));
    match master.command(&question).await {
        Ok(master::Reply::Why(explanation)) => hopeless(&explanation),
        Ok(_) => None,
        Err(error) => {
            tracing::debug!(%error, "the master does not say why the job waits");
            None
        }
    }
}

fn hopeless(explanation: &Explanation) -> Option<String> {
    explanation.waits.iter().find(|wait| wait.is_hopeless()).map(reason)
}

fn reason(wait: &Wait) -> String {
    format!("stage {} asks for {}: {}", wait.what.shape, wait.what.asks, wait.summary(SUMMARY_MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rialto_sdk::core::allocator::explain::{AgentRef, Cause, CauseKind, Clause, ClauseKind, Outlook, Waiting};
    use rialto_sdk::core::model::{AgentId, Milli, Role, Term};

    use super::*;

    fn explanation(outlook: Outlook, clause: ClauseKind, kind: CauseKind) -> Explanation {
        let nearest = AgentRef { id: AgentId::new(Term(1), 2), name: Arc::from("alpha") };
        let cause = Cause { agents: 3, nearest: Some(nearest), kind };
        let what = Waiting {
            framework: FrameworkId::new(Term(1), 1),
            role: Role::new("*").unwrap(),
            shape: Arc::from("map"),
            asks: "900 cpus".to_owned(),
            count: 1,
            waited: Duration::ZERO,
        };
        let wait = Wait {
            what,
            outlook,
            agents: 3,
            ready: 0,
            evaluations: 1,
            clauses: vec![Clause { kind: clause, agents: 3, alone: 3, causes: vec![cause] }],
        };
        Explanation { subject: "F1-1".to_owned(), waits: vec![wait], task: None }
    }

    fn cpus() -> ClauseKind {
        ClauseKind::Amount { resource: Arc::from("cpus") }
    }

    #[test]
    fn only_what_can_never_be_is_hopeless() {
        let short = Milli::from_whole(898);
        let text = hopeless(&explanation(Outlook::Hopeless, cpus(), CauseKind::TooSmall { short })).unwrap();
        assert_eq!(
            text,
            "stage map asks for 900 cpus: never fits: 3 of 3 agents: cpus short by 898 at least, even when empty (alpha)"
        );
        let claim = ClauseKind::Claim { number: 0, text: "fpga".to_owned() };
        let none = CauseKind::NoSuchDevice { kind: Arc::from("fpga") };
        let text = hopeless(&explanation(Outlook::Hopeless, claim, none)).unwrap();
        assert!(text.ends_with("never fits: 3 of 3 agents: no fpga there"), "{text}");
        let short = Milli::from_whole(1);
        assert_eq!(hopeless(&explanation(Outlook::Possible, cpus(), CauseKind::NotEnoughFree { short })), None);
    }
}
