//! Stages whose partitions need each other: they start together or not at all, and when one ends badly the others start anew with it.

use rialto_sdk::blobs::{Grant, Token};
use rialto_sdk::core::model::{TaskGroup, TaskId};
use rialto_sdk::core::scheduler::Out;
use rialto_sdk::core::scheduler::placement::{Needs, Packer, Strategy};

use super::{Effect, Policy};
use crate::spec::Start;

impl Policy {
    /// Places all partitions of `stage` that are not done, if all of them can start now and there is room for all.
    pub(super) fn launch_gang(
        &mut self,
        stage: usize,
        needs: &Needs,
        packer: &mut Packer,
        grants: &mut Vec<(Token, Grant)>,
    ) {
        let missing = self.partitions[stage].iter().filter(|partition| partition.output.is_none()).count();
        if self.ready.count(stage) as usize != missing {
            return;
        }
        let gang = vec![needs.clone(); missing];
        let Some(places) = packer.place_gang(&gang, Strategy::Pack, |_| Some(0)) else { return };
        let mut members = Vec::new();
        for place in places {
            let partition = self.ready.first(stage).expect("there are as many as are missing");
            let task = self.start(stage, partition, &place, grants);
            members.push((place.agent, TaskGroup::single(task)));
            self.ready.remove(stage, partition);
        }
        packer.launch_gang(members);
    }

    /// One of the stage has ended badly: if they need each other, the others are ended and wait with it. That costs none of their retries.
    pub(super) fn recall_gang(&mut self, stage: usize, out: &mut Out<Effect>) {
        if self.plan.job.stages[stage].start == Start::Each {
            return;
        }
        let others: Vec<TaskId> =
            self.attempts.iter().filter(|(_, attempt)| attempt.stage == stage).map(|(id, _)| id.clone()).collect();
        for task in others {
            out.kill(&task, None);
            if let Some(attempt) = self.retire(&task, out) {
                self.ready.insert(attempt.stage, attempt.partition);
            }
        }
    }
}
