use std::sync::Arc;
use std::time::Duration;

use rialto_core::model::{
    Claim, ClaimError, ExecutorRef, IdError, Milli, MilliError, ResourceName, Role, Selector, SelectorError, Shape,
    Task, TaskId, VolumeId,
};
use rialto_core::scheduler::placement::{Needs, Placement};
use rialto_proto::ConvertError;
use rialto_proto::spec::{CommandSpec, ContainerSpec, HealthCheck, Limits, TaskSpec};

/// How long a task gets between SIGTERM and SIGKILL, unless it says otherwise.
const KILL_GRACE: Duration = Duration::from_secs(5);

/// A command to be run as a task: what to run, and what that needs of a machine.
///
/// ```
/// # fn main() -> Result<(), rialto_sdk::CommandError> {
/// let train = rialto_sdk::Command::shell("python train.py").env("EPOCHS", "3").cpus("0.5")?.mem_mib(2048).device("2 gpu: memory >= 40GiB")?;
/// # drop(train); Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// How it is run: the command, its environment, limits and checks.
    pub spec: TaskSpec,
    /// What it needs of a machine.
    pub needs: Needs,
    /// For people; the task's id, if empty.
    pub name: String,
    /// Higher is more important, within its role.
    pub priority: i32,
    /// How long it gets between SIGTERM and SIGKILL.
    pub kill_grace: Duration,
    /// How long it is expected to run, where that is known.
    pub expected_run_time: Option<Duration>,
}

/// Why a command can't be described like that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// An amount does not parse.
    #[error("{name}: {error}")]
    Amount {
        /// Of what.
        name: String,
        /// What is wrong.
        error: MilliError,
    },
    /// A claim does not parse.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// A volume's name does not parse.
    #[error("volume: {0}")]
    Volume(IdError),
    /// An artefact does not parse.
    #[error("{0}")]
    Artefact(ConvertError),
    /// The constraint does not parse.
    #[error("constraint: {0}")]
    Constraint(#[from] SelectorError),
}

impl Command {
    /// Runs `line` with `/bin/sh -c`. It needs a tenth of a core and 32 MiB, unless told otherwise.
    pub fn shell(line: &str) -> Self {
        Self::new(TaskSpec::shell(line))
    }

    /// Runs a program with arguments: the program comes first.
    pub fn argv(args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::new(TaskSpec::new(CommandSpec::Argv(args.into_iter().map(Into::into).collect())))
    }

    fn new(spec: TaskSpec) -> Self {
        let needs = Needs::new(rialto_core::model::Quantities::of(Milli(100), Milli::from_whole(32)));
        Self { spec, needs, name: String::new(), priority: 0, kill_grace: KILL_GRACE, expected_run_time: None }
    }

    /// The same, called `name`.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// The same with a variable of the environment; a later value of a name wins.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.spec.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same in that folder, relative to the sandbox or absolute.
    #[must_use]
    pub fn working_dir(mut self, path: &str) -> Self {
        path.clone_into(&mut self.spec.working_dir);
        self
    }

    /// The same, ended after that time.
    #[must_use]
    pub fn max_run(mut self, limit: Duration) -> Self {
        self.spec.max_run = Some(limit);
        self
    }

    /// The same, expected to run for that long: nothing is enforced by it, and `when` reckons with it.
    #[must_use]
    pub const fn expected_run(mut self, run_time: Duration) -> Self {
        self.expected_run_time = Some(run_time);
        self
    }

    /// The same, watched by `check`.
    #[must_use]
    pub fn health_check(mut self, check: HealthCheck) -> Self {
        self.spec.health_check = Some(check);
        self
    }

    /// The same with so many cores: `"0.5"`.
    ///
    /// # Errors
    /// If that is not an amount.
    pub fn cpus(self, amount: &str) -> Result<Self, CommandError> {
        self.scalar("cpus", amount)
    }

    /// The same with that amount of any scalar.
    ///
    /// # Errors
    /// If that is not an amount.
    pub fn scalar(mut self, name: &str, amount: &str) -> Result<Self, CommandError> {
        let amount = amount.parse().map_err(|error| CommandError::Amount { name: name.to_owned(), error })?;
        self.needs.resources.set(&ResourceName::new(name), amount);
        Ok(self)
    }

    /// The same with so much memory.
    #[must_use]
    pub fn mem_mib(mut self, mib: u32) -> Self {
        self.needs.resources.set(&ResourceName::Mem, Milli::from_whole(u64::from(mib)));
        self
    }

    /// The same with so many ports.
    #[must_use]
    pub const fn ports(mut self, count: u16) -> Self {
        self.needs.ports = count;
        self
    }

    /// The same with a persistent volume of its role, which the machine must have.
    ///
    /// # Errors
    /// If that is not a name of a volume.
    pub fn volume(mut self, id: &str) -> Result<Self, CommandError> {
        self.needs.volumes.push(VolumeId::new(id).map_err(CommandError::Volume)?);
        Ok(self)
    }

    /// The same with one more claim: `"gpu"`, `"2 gpu: memory >= 40GiB | 4 gpu"`.
    ///
    /// # Errors
    /// If that is not a claim.
    pub fn device(mut self, claim: &str) -> Result<Self, CommandError> {
        self.needs.claims.push(claim.parse::<Claim>()?);
        Ok(self)
    }

    /// The same, with something put into its sandbox before it starts: `URI[,to=PATH][,sha256=DIGEST][,extract][,executable]`.
    ///
    /// # Errors
    /// If that is not an artefact.
    pub fn fetch(mut self, artefact: &str) -> Result<Self, CommandError> {
        self.spec.artefacts.push(artefact.parse().map_err(CommandError::Artefact)?);
        Ok(self)
    }

    /// The same, with at most so much: `None` leaves it to the agent.
    #[must_use]
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.spec.limits = limits;
        self
    }

    /// The same, kept apart like that.
    #[must_use]
    pub fn container(mut self, container: ContainerSpec) -> Self {
        self.spec.container = container;
        self
    }

    /// The same, run by this user: a name, `UID`, or `UID:GID`.
    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        user.clone_into(&mut self.spec.user);
        self
    }

    /// The same, only on agents that match.
    ///
    /// # Errors
    /// If that is not a selector.
    pub fn only_on(mut self, constraint: &str) -> Result<Self, CommandError> {
        self.needs.constraint = constraint.parse::<Selector>()?;
        Ok(self)
    }

    /// The task `id` of `role`, at its placement.
    pub fn task(&self, id: TaskId, role: &Role, placement: &Placement) -> Task {
        Task {
            name: if self.name.is_empty() { Arc::from(id.as_str()) } else { Arc::from(self.name.as_str()) },
            id,
            role: role.clone(),
            resources: placement.resources.clone(),
            claims: self.needs.claims.clone(),
            priority: self.priority,
            kill_grace: self.kill_grace,
            expected_run_time: self.expected_run_time,
            executor: ExecutorRef::Supervisor,
            body: self.spec.to_body(),
        }
    }

    /// The shape of a demand for `count` of these.
    pub fn shape(&self, count: u32) -> Shape {
        let shape = self.needs.shape(&self.name, count);
        Shape { priority: self.priority, expected_run_time: self.expected_run_time, ..shape }
    }
}

#[cfg(test)]
mod tests;
