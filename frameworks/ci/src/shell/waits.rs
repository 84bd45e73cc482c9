//! Why a job waits, in a line.

use rialto_sdk::MasterClient;
use rialto_sdk::core::master::{Command, Reply, Target};
use rialto_sdk::model::FrameworkId;

/// So many reasons are told in a line.
const SUMMARY_MAX: usize = 3;

/// What the master says of the job called `name`.
pub(super) async fn why(client: &MasterClient, framework: FrameworkId, name: &str) -> String {
    let question = Command::Why(Target::Shape(framework, name.to_owned()));
    let explanation = match client.command(&question).await {
        Ok(Reply::Why(explanation)) => explanation,
        Ok(_) => return "the master does not say why".to_owned(),
        Err(error) => return format!("the master does not say why ({error})"),
    };
    let waits = explanation.waits.iter().find(|wait| &*wait.what.shape == name).or_else(|| explanation.waits.first());
    waits.map_or_else(|| "its turn will come".to_owned(), |wait| wait.summary(SUMMARY_MAX))
}
