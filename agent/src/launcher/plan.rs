//! From a launch to what its supervisor is told.

use std::path::Path;
use std::sync::Arc;

use rialto_core::model::{Device, ResourceName, Task, TaskKey};
use rialto_proto::spec::{self, Artefact, Check, CommandSpec, ContainerSpec, Secret, TaskInput, TaskSpec};

use super::{Launcher, Order};
use crate::health;
use crate::network::{Mapped, Networks};
use crate::secrets;
use crate::supervisor::edits::Edits;
use crate::supervisor::protocol::{self, CommandLine, Durability, LogLimits, Network, Stdio};
use crate::volumes::Volumes;

/// What is kept of each output unless the task says otherwise: five files of 10 MiB.
const LOG_LIMITS: LogLimits = LogLimits { file_bytes: 10 << 20, keep: 4 };
/// The most ports that are shown one by one in the environment.
const MAX_PORT_VARIABLES: usize = 256;

/// What a supervisor is told, and what is checked while it runs.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) spec: protocol::Spec,
    pub(super) checks: Vec<Option<health::Plan>>,
    /// What is to be fetched for each member.
    pub(super) artefacts: Vec<Vec<Artefact>>,
    /// What only each member is to know, without what it is.
    pub(super) secrets: Vec<Vec<Secret>>,
    /// The ports that lead into its network, if it has one on a bridge.
    pub(super) bridge: Option<Vec<Mapped>>,
    /// Whether its users are its own.
    pub(super) own_users: bool,
    /// Whose files the group sees.
    pub(super) image: Option<String>,
}

/// Whose files a group sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Files {
    Machine,
    Image,
}

/// A member whose description can't be run.
#[derive(Debug)]
pub(super) struct PlanError {
    pub(super) member: usize,
    pub(super) message: String,
}

pub(super) fn plan(launcher: &Launcher, order: &Order, keys: &[TaskKey]) -> Result<Plan, PlanError> {
    let mut spec = protocol::Spec {
        version: protocol::VERSION,
        durability: Durability::ProcessLoss,
        container: None,
        tasks: Vec::new(),
    };
    let mut checks = Vec::new();
    let mut artefacts = Vec::new();
    let mut kept = Vec::new();
    let mut image = None;
    let mut bridge = None;
    let mut own_users = false;
    for (member, (task, key)) in order.launch.group.tasks.iter().zip(keys).enumerate() {
        let refuse = |message| PlanError { member, message };
        let mut body = TaskSpec::from_body(&task.body).map_err(|error| refuse(error.to_string()))?;
        if member == 0 {
            image.clone_from(&body.container.image);
            spec.container = launcher.isolation.container(&body.container).map_err(refuse)?;
            own_users = own_users_of(launcher, &body.container, &order.launch.group.tasks).map_err(refuse)?;
            let held: Vec<u64> =
                task.resources.ranges(&ResourceName::ports()).numbers().take(MAX_PORT_VARIABLES).collect();
            let mapped = body.container.bridge.as_ref().map(|bridge| Networks::mapped(bridge, &held));
            bridge = mapped.transpose().map_err(refuse)?;
        }
        artefacts.push(std::mem::take(&mut body.artefacts));
        kept.push(body.secrets.clone());
        let (planned, check) = member_plan(
            launcher,
            order,
            task,
            body,
            key,
            member,
            image.as_ref().map_or(Files::Machine, |_| Files::Image),
        )
        .map_err(refuse)?;
        spec.tasks.push(planned);
        checks.push(check);
    }
    let network = spec.container.as_ref().and_then(|container| container.namespaces.as_ref());
    let network = network.map_or(Network::Host, |namespaces| namespaces.network.clone());
    for (planned, task) in spec.tasks.iter_mut().zip(&order.launch.group.tasks) {
        if let Some(cgroup) = &mut planned.cgroup {
            cgroup.ports = launcher.isolation.port_rule(task, &network);
        }
    }
    if let Some(namespaces) = spec.container.as_mut().and_then(|container| container.namespaces.as_mut()) {
        let volumes = launcher.layout.volumes();
        let shown: Vec<_> = Volumes::links(&order.launch.group.tasks).iter().map(|link| volumes.target(link)).collect();
        namespaces.shown.extend(shown.iter().cloned());
        if let Some(container) = spec.container.as_mut().filter(|_| own_users) {
            container.mapped = shown;
            // One that several tasks use is shown once.
            container.mapped.sort();
            container.mapped.dedup();
        }
    }
    Ok(Plan { spec, checks, artefacts, secrets: kept, bridge, own_users, image })
}

fn member_plan(
    launcher: &Launcher,
    order: &Order,
    task: &Task,
    body: TaskSpec,
    key: &TaskKey,
    member: usize,
    files: Files,
) -> Result<(protocol::TaskSpec, Option<health::Plan>), String> {
    let sandbox = launcher.layout.sandbox(key);
    let ports: Vec<u64> = task.resources.ranges(&ResourceName::ports()).numbers().take(MAX_PORT_VARIABLES).collect();
    let devices = order.devices.get(&task.id).map(Vec::as_slice).unwrap_or_default();
    let mut env = vec![("PATH".to_owned(), launcher.path.clone()), ("HOME".to_owned(), display(&sandbox))];
    env.extend(body.env.iter().cloned());
    env.extend(identity_variables(launcher, order, key, &sandbox));
    env.extend(device_variables(devices));
    env.extend(port_variables(&ports));
    if !body.secrets.is_empty() {
        env.push(("RIALTO_SECRETS".to_owned(), display(&sandbox.join(secrets::FOLDER))));
    }
    let checked = body.health_check.as_ref().and_then(|health| match &health.check {
        Check::Command(command) => Some(command_line(command.clone())),
        Check::Http { .. } | Check::Tcp { .. } => None,
    });
    let check = body.health_check.map(|check| health::Plan {
        check,
        ports: ports.iter().filter_map(|port| u16::try_from(*port).ok()).collect(),
    });
    let logs = body.log_limits.map_or(LOG_LIMITS, |limits| LogLimits {
        file_bytes: limits.bytes_per_file,
        keep: limits.files.saturating_sub(1),
    });
    let spec = protocol::TaskSpec {
        name: member.to_string(),
        command: match files {
            Files::Machine => command(body.command, &sandbox, &body.working_dir),
            Files::Image => command_line(body.command),
        },
        working_dir: (files == Files::Image && !body.working_dir.is_empty()).then(|| sandbox.join(&body.working_dir)),
        env,
        sandbox,
        grace_ms: u32::try_from(task.kill_grace.as_millis()).unwrap_or(u32::MAX),
        max_run_ms: body.max_run.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
        logs,
        user: user(&body.user, &order.launch.user)?,
        users: None,
        cgroup: launcher.isolation.cgroup(task, key, &body.limits),
        check: checked,
        stdio: stdio(body.input),
        edits: Edits::default(),
        rlimits: body.container.rlimits.iter().map(rlimit).collect(),
        devices: devices
            .iter()
            .flat_map(|device| device.nodes.iter().map(|node| Path::new(&**node).to_owned()))
            .collect(),
    };
    Ok((spec, check))
}

/// Whether a group's users are its own. Files of images, and those that outlive it, are then shown as theirs, where that can be had.
fn own_users_of(launcher: &Launcher, container: &ContainerSpec, tasks: &[Task]) -> Result<bool, String> {
    let possible = launcher.isolation.has_namespaces() && rustix::process::geteuid().is_root();
    let unfit = launcher.isolation.unfit_for_users(container.image.is_some(), !Volumes::links(tasks).is_empty());
    match (container.user_namespace, possible) {
        (true, false) => Err("container.user_namespace: this agent has no namespaces, or is not root".to_owned()),
        (true, true) if unfit.is_some() => Err(format!("container.user_namespace: {}", unfit.unwrap_or_default())),
        (asked, possible) => Ok(possible && unfit.is_none() && launcher.users.wants(asked)),
    }
}

fn command_line(command: CommandSpec) -> CommandLine {
    match command {
        CommandSpec::Argv(args) => CommandLine::Argv(args),
        CommandSpec::Shell(line) => CommandLine::Shell(line),
    }
}

fn stdio(input: TaskInput) -> Stdio {
    match input {
        TaskInput::None => Stdio::Output,
        TaskInput::Pipe => Stdio::Pipes,
        // Whoever attaches says how large it is.
        TaskInput::Terminal => Stdio::Terminal { rows: 24, columns: 80, kind: String::new() },
    }
}

fn rlimit(limit: &spec::Rlimit) -> protocol::Rlimit {
    protocol::Rlimit { name: limit.name.clone(), soft: limit.soft, hard: limit.hard }
}

/// The command, in the folder that the task wants. A relative one is made below the sandbox.
fn command(command: CommandSpec, sandbox: &Path, working_dir: &str) -> CommandLine {
    let command = command_line(command);
    if working_dir.is_empty() {
        return command;
    }
    let folder = display(&sandbox.join(working_dir));
    let make = if Path::new(working_dir).is_absolute() { "" } else { "mkdir -p -- \"$0\" && " };
    let mut args = vec!["/bin/sh".to_owned(), "-c".to_owned(), format!("{make}cd -- \"$0\" && exec \"$@\""), folder];
    match command {
        CommandLine::Argv(rest) => args.extend(rest),
        CommandLine::Shell(line) => args.extend(["/bin/sh".to_owned(), "-c".to_owned(), line]),
    }
    CommandLine::Argv(args)
}

/// The user that the task asks for, else its framework's. Only root can choose: others run everything as themselves, and refuse a task
/// that insists on somebody else.
fn user(of_task: &str, of_framework: &str) -> Result<Option<String>, String> {
    let is_root = rustix::process::geteuid().is_root();
    let own = rustix::process::geteuid().as_raw().to_string();
    match (of_task, of_framework) {
        ("", "") => Ok(None),
        ("", framework) => Ok(is_root.then(|| framework.to_owned())),
        (task, _) if is_root => Ok(Some(task.to_owned())),
        (task, _) if task == own => Ok(None),
        (task, _) => Err(format!("user: expected none, as this agent does not run as root, got {task:?}")),
    }
}

fn identity_variables(launcher: &Launcher, order: &Order, key: &TaskKey, sandbox: &Path) -> Vec<(String, String)> {
    let agent = order.agent.map(|agent| agent.to_string()).unwrap_or_default();
    named([
        ("RIALTO_TASK_ID", key.task.to_string()),
        ("RIALTO_FRAMEWORK_ID", key.framework.to_string()),
        ("RIALTO_AGENT_ID", agent),
        ("RIALTO_SANDBOX", display(sandbox)),
        ("RIALTO_EXE", display(&launcher.exe)),
    ])
}

fn device_variables(devices: &[Arc<Device>]) -> Vec<(String, String)> {
    let ids = |devices: &mut dyn Iterator<Item = &Arc<Device>>| {
        devices.map(|device| device.id.to_string()).collect::<Vec<_>>().join(",")
    };
    let nodes: Vec<&str> = devices.iter().flat_map(|device| device.nodes.iter().map(|node| &**node)).collect();
    let gpus = ids(&mut devices.iter().filter(|device| &*device.kind == "gpu"));
    let mut variables = named([("RIALTO_DEVICES", ids(&mut devices.iter())), ("RIALTO_DEVICE_NODES", nodes.join(","))]);
    // Said of tasks without a GPU too: "none" keeps the vendor's libraries from taking what others hold.
    variables.push(("CUDA_VISIBLE_DEVICES".to_owned(), gpus.clone()));
    variables.push(("NVIDIA_VISIBLE_DEVICES".to_owned(), if gpus.is_empty() { "none".to_owned() } else { gpus }));
    variables
}

fn port_variables(ports: &[u64]) -> Vec<(String, String)> {
    let mut variables: Vec<_> =
        ports.iter().enumerate().map(|(index, port)| (format!("RIALTO_PORT{index}"), port.to_string())).collect();
    if !ports.is_empty() {
        let all: Vec<String> = ports.iter().map(u64::to_string).collect();
        variables.push(("RIALTO_PORTS".to_owned(), all.join(",")));
    }
    variables
}

fn named<const N: usize>(variables: [(&str, String); N]) -> Vec<(String, String)> {
    variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn display(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
