//! A job of one stage, with a partition for each task.

use std::collections::BTreeMap;
use std::sync::Arc;

use rialto_analytics::policy::{Command, Config, Effect, Policy};
use rialto_analytics::spec::{Start, parse};
use rialto_analytics::{FilePart, Plan};
use rialto_core::model::{ResourceName, TaskId};
use rialto_sdk::blobs::{Digest, Output, Pack, Report, TokenKey};

use super::{Errand, Foreman, Verdict};

const FILE: &str = r#"
name = "job"
[[stage]]
name = "work"
files = "*"
command = "work"
[result]
stage = "work"
to = "out"
"#;

pub(super) fn policy(errand: &Errand) -> Policy {
    let config = Config {
        role: errand.role.clone(),
        store_url: Arc::from(""),
        tokens: TokenKey::from_bytes(&[0; 32]),
        upload_limit: 0,
    };
    Policy::new(plan(errand), config)
}

fn plan(errand: &Errand) -> Plan {
    let mut job = parse("scenario", FILE).expect("a stage with files and a result is a job");
    let needs = errand.ask.each.needs();
    let stage = &mut job.stages[0];
    (stage.cpus, stage.mem) = (needs.resources.get(&ResourceName::Cpus), needs.resources.get(&ResourceName::Mem));
    stage.claims = needs.claims;
    stage.max_price = errand.max_price;
    stage.start = if errand.ask.traits.members > 1 { Start::Together } else { Start::Each };
    let part = FilePart { digest: Digest::of(&[]), name: Arc::from("file") };
    let parts = vec![part; errand.ask.traits.members as usize];
    Plan::new(job, BTreeMap::from([(0, parts)])).expect("a scenario's gangs are as small as a stage's")
}

impl Foreman for Policy {
    fn report(task: &TaskId) -> Option<Command> {
        let output = Output { name: "output".to_owned(), digest: Digest::of(&[]), bytes: 0, pack: Pack::File };
        Some(Command::Reported(Report { task: task.as_str().to_owned(), outputs: vec![output] }))
    }

    fn judge(effect: &Effect) -> Verdict {
        match effect {
            Effect::Ended(Ok(_)) => Verdict::Passed,
            Effect::Ended(Err(_)) => Verdict::GivenUp,
            _ => Verdict::GoesOn,
        }
    }

    fn leave() -> Option<Command> {
        None
    }
}
