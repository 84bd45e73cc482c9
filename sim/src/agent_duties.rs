//! What an agent owes in each single step, as far as it can be told from what goes in and what comes out.

use std::collections::BTreeSet;

use rialto_core::agent::{Agent, Effect, Input, Out, Record};
use rialto_core::gate::Output;
use rialto_core::model::{DeviceReport, FrameworkId, Launch, TaskKey, Term, ToAgent, UpdateId};

/// What one agent process has recorded, in its journal or on the way there.
#[derive(Debug, Default)]
pub(crate) struct AgentWatch {
    term: Term,
    kills: BTreeSet<TaskKey>,
    removed: BTreeSet<FrameworkId>,
}

/// What it is told, as far as a duty comes of it.
#[derive(Debug)]
pub(crate) enum Told {
    /// By a master of a term that is over.
    OfAnOldTerm(Term),
    Acknowledged(UpdateId),
    /// To start something: what it knows of its devices.
    Launch(Vec<DeviceReport>),
    Else,
}

impl AgentWatch {
    pub(crate) fn of(durable: &[Record]) -> Self {
        let mut watch = Self::default();
        durable.iter().for_each(|record| watch.recorded(record));
        watch
    }

    /// Before a step in which nothing else is due.
    pub(crate) fn hear(&self, core: &Agent, input: &Input) -> Told {
        match input {
            Input::FromMaster { term, .. } if *term < self.term => Told::OfAnOldTerm(*term),
            Input::FromMaster { message: ToAgent::Acknowledge { uuid, .. }, .. } => Told::Acknowledged(*uuid),
            Input::FromMaster { message: ToAgent::Launch(_) | ToAgent::Start(_), .. } => {
                Told::Launch(core.device_reports())
            }
            _ => Told::Else,
        }
    }

    /// After it.
    pub(crate) fn judge(&mut self, told: &Told, out: &Out) -> Result<(), String> {
        for output in out {
            if let Told::OfAnOldTerm(term) = told
                && !matches!(output, Output::Ungated(Effect::Notice(_)))
            {
                return Err(format!(
                    "I5: the agent has heard of term {} and does what a master of term {} says",
                    self.term.0, term.0
                ));
            }
            match output {
                Output::Persist(record) => {
                    self.recorded(record);
                    judge_record(told, record)?;
                }
                Output::Effect(effect) | Output::Ungated(effect) => self.judge_effect(told, effect)?,
            }
        }
        Ok(())
    }

    fn judge_effect(&self, told: &Told, effect: &Effect) -> Result<(), String> {
        match (effect, told) {
            (Effect::Kill { task, .. }, _) if !self.kills.contains(task) && !self.removed.contains(&task.framework) => {
                Err(format!("{task} is ended, and the agent's next life will not know why"))
            }
            (Effect::Start { launch, .. }, Told::Launch(devices)) => judge_devices(devices, launch),
            _ => Ok(()),
        }
    }

    fn recorded(&mut self, record: &Record) {
        match record {
            Record::Term(term) => self.term = self.term.max(*term),
            Record::FrameworkRemoved(framework) => drop(self.removed.insert(*framework)),
            Record::Kill { task, .. } => drop(self.kills.insert(task.clone())),
            _ => {}
        }
    }
}

fn judge_record(told: &Told, record: &Record) -> Result<(), String> {
    match (told, record) {
        (Told::Acknowledged(said), Record::Acknowledged { task, uuid }) if said != uuid => {
            Err(format!("I4: an update of {task} is taken for acknowledged, and another one was"))
        }
        _ => Ok(()),
    }
}

/// Each device that a task gets is there, in order, and has as much left.
fn judge_devices(devices: &[DeviceReport], launch: &Launch) -> Result<(), String> {
    for task in &launch.group.tasks {
        for (id, share) in task.resources.device_shares() {
            let report = devices.iter().find(|report| report.device.id == *id);
            let is_ready =
                |report: &DeviceReport| report.device.health.is_usable() && report.state.free_share() >= share;
            if !report.is_some_and(is_ready) {
                let what = report.map(|report| (report.device.health, &report.state));
                return Err(format!("I1: {} is to be started with {id}, of which the agent knows {what:?}", task.id));
            }
        }
    }
    Ok(())
}
