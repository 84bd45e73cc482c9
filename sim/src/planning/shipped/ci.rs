//! A pipeline of one job.

use std::collections::BTreeSet;
use std::sync::Arc;

use rialto_ci::policy::{CiPolicy, Command, Effect, Io, PipelineResult, Setup};
use rialto_ci::spec::{Context, Pipeline, PipelineFile, Resources};
use rialto_core::model::{ResourceName, TaskId};
use rialto_sdk::blobs::{Digest, TokenKey};

use super::{Errand, Foreman, Verdict};

const FILE: &str = "job: {script: [work]}";

pub(super) fn policy(errand: &Errand) -> CiPolicy {
    let io = Io { url: String::new(), key: TokenKey::from_bytes(&[0; 32]), source: Digest::of(&[]) };
    let setup = Setup { role: errand.role.clone(), play: BTreeSet::new(), io };
    CiPolicy::new(Arc::new(pipeline(errand)), setup).expect("its claims were written from claims")
}

fn pipeline(errand: &Errand) -> Pipeline {
    let file = PipelineFile::parse("scenario", FILE).and_then(|file| file.expand(&Context::default(), &|_| Ok(())));
    let mut pipeline = file.expect("a job with a script is a pipeline");
    let needs = errand.ask.each.needs();
    let amount = |name: &ResourceName| needs.resources.get(name).0;
    pipeline.jobs[0].resources = Resources {
        cpus_milli: amount(&ResourceName::Cpus),
        mem_mib: amount(&ResourceName::Mem).div_ceil(1000),
        disk_mib: 0,
        devices: needs.claims.iter().map(ToString::to_string).collect(),
    };
    pipeline
}

impl Foreman for CiPolicy {
    fn report(_: &TaskId) -> Option<Command> {
        // The job keeps no artefacts.
        None
    }

    fn judge(effect: &Effect) -> Verdict {
        match effect {
            Effect::Finished(summary) if summary.result == PipelineResult::Passed => Verdict::Passed,
            Effect::Finished(_) => Verdict::GivenUp,
            _ => Verdict::GoesOn,
        }
    }

    fn leave() -> Option<Command> {
        Some(Command::Leave)
    }
}
