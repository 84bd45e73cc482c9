//! A cluster of real processes.

use std::path::{Path, PathBuf};
use std::process::Command;

use rialto_master::api;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use super::http::{Answer, get};
use super::process::{Finished, Process, rialto_binary};
use super::remains::kill_processes_of;
use super::wait::{find, wait_until};

/// An agent that a test wants.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AgentSpec {
    /// Its name and that of its work dir.
    pub(crate) name: &'static str,
    /// Its `--resources`; what the machine has, if empty.
    pub(crate) resources: &'static str,
    /// Its device sources.
    pub(crate) devices: &'static [&'static str],
}

impl AgentSpec {
    /// One with plenty of cpus, so that what a test waits for is never the number of this machine's.
    pub(crate) const fn roomy(name: &'static str) -> Self {
        Self { name, resources: "cpus:64;mem:65536", devices: &[] }
    }

    /// The same with devices.
    pub(crate) const fn with_devices(self, devices: &'static [&'static str]) -> Self {
        Self { devices, ..self }
    }
}

/// The processes, and the folder in which all that they keep lies.
#[derive(Debug)]
pub(crate) struct Cluster {
    folder: TempDir,
    address: String,
    master: Option<Process>,
    agents: Vec<(AgentSpec, Option<Process>)>,
    token: Option<PathBuf>,
    /// Whether tasks of its agents are kept apart, as far as this machine can, or plain processes.
    contained: bool,
}

impl Cluster {
    /// `rialto dev`, ready.
    pub(crate) fn dev() -> Self {
        let mut cluster = Self::nothing();
        cluster.start_dev();
        cluster
    }

    /// `rialto dev`, ready, with tasks as plain processes: such that meet in files outside of their sandboxes.
    pub(crate) fn dev_of_processes() -> Self {
        let mut cluster = Self::nothing();
        cluster.start_dev_with(&["--launcher", "process"]);
        cluster
    }

    /// A master and agents as separate processes, ready. They share no folder.
    pub(crate) fn start(agents: &[AgentSpec]) -> Self {
        Self::nothing().with_agents(agents)
    }

    /// The same with tasks that are kept apart, as far as this machine can.
    pub(crate) fn start_contained(agents: &[AgentSpec]) -> Self {
        let mut cluster = Self::nothing();
        cluster.contained = true;
        cluster.with_agents(agents)
    }

    fn with_agents(mut self, agents: &[AgentSpec]) -> Self {
        let cluster = &mut self;
        cluster.token = Some(cluster.path("master/token"));
        cluster.start_master();
        for spec in agents {
            cluster.agents.push((*spec, None));
            cluster.start_agent(spec.name);
        }
        cluster.wait_for_agents(agents.len());
        self
    }

    /// Only the folder.
    pub(crate) fn nothing() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        for name in ["here", "output"] {
            std::fs::create_dir(folder.path().join(name)).expect("it is ours");
        }
        Self {
            folder,
            address: "127.0.0.1:0".to_owned(),
            master: None,
            agents: Vec::new(),
            token: None,
            contained: false,
        }
    }

    /// Starts `rialto dev`, on the port that it had before if it did.
    pub(crate) fn start_dev(&mut self) {
        self.start_dev_with(&[]);
    }

    fn start_dev_with(&mut self, options: &[&str]) {
        let mut command = self.command(&["dev", "--listen", &self.address, "--work-dir", &self.name_of("dev")]);
        command.args(options);
        command.env_remove("RIALTO_MASTER");
        let mut dev = self.start_process("dev", &mut command);
        let url =
            dev.line("where its page is", |line| line.trim().strip_prefix("web page").map(|url| url.trim().to_owned()));
        self.address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        self.master = Some(dev);
    }

    /// Starts the master, on the port that it had before if it did.
    pub(crate) fn start_master(&mut self) {
        let mut command = self.command(&["master", "--listen", &self.address, "--work-dir", &self.name_of("master")]);
        command.env_remove("RIALTO_TOKEN_FILE");
        let mut master = self.start_process("master", &mut command);
        let url = master.line("where it listens", |line| {
            let url = line.strip_prefix("rialto master: http://")?;
            url.split(' ').next().map(str::to_owned)
        });
        self.address = url;
        self.master = Some(master);
    }

    /// Starts an agent of [`Cluster::start`] that does not run.
    pub(crate) fn start_agent(&mut self, name: &str) {
        let agent = self.spawn_agent(name, &[]);
        *self.slot(name) = Some(agent);
    }

    /// Starts such an agent with further options, as a process of the caller's.
    pub(crate) fn spawn_agent(&self, name: &str, options: &[&str]) -> Process {
        self.start_process(name, self.agent_command(name).args(options))
    }

    fn agent_command(&self, name: &str) -> Command {
        let spec = self.spec(name);
        let work_dir = self.name_of(name);
        // Its name is nobody's host name: servers on it are reached by an address.
        let mut command =
            self.command(&["agent", "--name", name, "--work-dir", &work_dir, "--attribute", "host=127.0.0.1"]);
        if !spec.resources.is_empty() {
            command.args(["--resources", spec.resources]);
        }
        for source in spec.devices {
            command.args(["--device-source", source]);
        }
        if self.contained {
            command.args(["--launcher", "auto"]);
        }
        command
    }

    /// Waits until so many agents are active.
    #[track_caller]
    pub(crate) fn wait_for_agents(&self, count: usize) {
        wait_until(&format!("{count} agents are active"), || {
            self.agents().iter().filter(|agent| agent.status == "active").count() == count
        });
    }

    /// The process of `rialto dev` or of the master.
    pub(crate) fn master(&mut self) -> &mut Process {
        self.master.as_mut().expect("the master was started")
    }

    /// The process of an agent.
    pub(crate) fn agent(&mut self, name: &str) -> &mut Process {
        self.slot(name).as_mut().expect("the agent was started")
    }

    /// A running agent as a process of the caller's.
    pub(crate) fn take_agent(&mut self, name: &str) -> Process {
        self.slot(name).take().expect("the agent was started")
    }

    /// The master as a process of the caller's.
    pub(crate) fn take_master(&mut self) -> Process {
        self.master.take().expect("the master was started")
    }

    /// `HOST:PORT` of the master.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Where all of the cluster's folders lie.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A path below [`Cluster::folder`].
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Such a path as a text.
    pub(crate) fn name_of(&self, name: &str) -> String {
        self.path(name).into_os_string().into_string().expect("temporary folders have plain names")
    }

    /// A folder of that name for what the test's tasks observe.
    pub(crate) fn make_folder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(&path).expect("it is ours");
        path
    }

    /// Writes a file and returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).expect("it is ours");
        self.name_of(name)
    }

    /// `rialto` with these arguments, in a folder where nothing lies, knowing the master and its token by the environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(rialto_binary());
        let ours = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("RIALTO_"));
        for (name, _) in ours {
            command.env_remove(name);
        }
        command.args(args).current_dir(self.path("here")).env("RIALTO_MASTER", &self.address);
        // Tasks of these tests meet in files, and tests look at their processes.
        command.env("RIALTO_LAUNCHER", "process");
        if let Some(token) = &self.token {
            command.env("RIALTO_TOKEN_FILE", token);
        }
        command
    }

    /// Runs `rialto` with these arguments to its end.
    #[track_caller]
    pub(crate) fn rialto(&self, args: &[&str]) -> Finished {
        self.spawn(args).finish()
    }

    /// Starts `rialto` with these arguments.
    #[track_caller]
    pub(crate) fn spawn(&self, args: &[&str]) -> Process {
        self.start_process(args.first().unwrap_or(&"rialto"), &mut self.command(args))
    }

    /// Starts any command, its output kept with that of the others.
    #[track_caller]
    pub(crate) fn start_process(&self, name: &str, command: &mut Command) -> Process {
        Process::start(name, &self.path("output"), command)
    }

    /// `GET path`, as somebody who knows the token.
    pub(crate) fn get(&self, path: &str) -> std::io::Result<Answer> {
        let token = self.token.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        get(&self.address, path, token.as_deref().map(str::trim))
    }

    /// What the master says of the cluster.
    #[track_caller]
    pub(crate) fn cluster(&self) -> api::Cluster {
        self.read("/api/cluster")
    }

    /// The agents.
    #[track_caller]
    pub(crate) fn agents(&self) -> Vec<api::Agent> {
        self.read::<api::Agents>("/api/agents").agents
    }

    /// The frameworks.
    #[track_caller]
    pub(crate) fn frameworks(&self) -> Vec<api::Framework> {
        self.read::<api::Frameworks>("/api/frameworks").frameworks
    }

    /// The tasks, ended ones too, launched last first.
    #[track_caller]
    pub(crate) fn tasks(&self) -> Vec<api::Task> {
        self.read::<api::Tasks>("/api/tasks?limit=1000").tasks
    }

    /// The tasks in a state, such as `TASK_RUNNING`.
    #[track_caller]
    pub(crate) fn tasks_in(&self, state: &str) -> Vec<api::Task> {
        self.tasks().into_iter().filter(|task| task.state == state).collect()
    }

    /// The devices.
    #[track_caller]
    pub(crate) fn devices(&self) -> Vec<api::Device> {
        self.read::<api::Devices>("/api/devices").devices
    }

    /// A document of the API. A master that does not answer yet is asked again.
    #[track_caller]
    fn read<T: DeserializeOwned>(&self, path: &str) -> T {
        find(&format!("{path} is answered"), || {
            let answer = self.get(path).ok().filter(|answer| answer.status == 200)?;
            Some(serde_json::from_str(&answer.body).expect("the API answers in its own form"))
        })
    }

    fn spec(&self, name: &str) -> AgentSpec {
        let found = self.agents.iter().find(|(spec, _)| spec.name == name);
        found.unwrap_or_else(|| panic!("there is no agent {name}")).0
    }

    fn slot(&mut self, name: &str) -> &mut Option<Process> {
        let found = self.agents.iter_mut().find(|(spec, _)| spec.name == name);
        &mut found.unwrap_or_else(|| panic!("there is no agent {name}")).1
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The agents first: what their tasks' supervisors would do about an agent that is gone does not matter any more.
        self.agents.clear();
        self.master = None;
        kill_processes_of(self.folder.path());
    }
}
