//! The web policy: keeps apps up, and changes them without an interruption.
//!
//! Every event ends the same way: each app that it touches looks at where it stands (`App::step`), what is missing is placed on
//! the offers that stand, and what has changed is saved before anything of it can be seen. Touched is whose instance or request the event
//! is about, whose time has come, and who lacks something.

mod agenda;
mod app;
mod backoff;
mod crowd;
mod deployment;
mod instance;
mod launch;
mod saved;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rialto_sdk::core::model::{
    AgentId, Demand, OfferId, Refusal, Reject, Role, Shape, Status, TaskId, TaskState, Time,
};
use rialto_sdk::core::scheduler::placement::Packer;
use rialto_sdk::core::scheduler::{Happening, Out, Scheduler};

use self::agenda::Agenda;
use self::app::{App, Cause, Version};
use self::saved::Counters;
use crate::spec::{self, AppSpec, MAX_INSTANCES};

pub use self::deployment::{DeploymentState, Kind};
pub use self::launch::HOST_ATTRIBUTE;
pub use self::saved::SavedError;
pub use self::view::{AppView, DeploymentView, InstanceView};

/// The most apps that are taken.
pub const MAX_APPS: usize = 1_000;
/// How long offers of agents are refused that are full for all that is lacking; what becomes free there is offered before.
const FULL: Duration = Duration::from_secs(60);

/// A user's request, and the number that its answer goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The number, unique among the requests that wait.
    pub request: u64,
    /// What is asked.
    pub ask: Ask,
}

/// What users ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Bring this app up, or change it to be like this; the text of an app file.
    Deploy {
        /// The name that the request was addressed to.
        name: String,
        /// The app file.
        text: Arc<str>,
    },
    /// Have so many instances of it.
    Scale {
        /// Which app.
        name: String,
        /// How many.
        instances: u32,
    },
    /// Replace every instance, as an update would.
    Restart(String),
    /// End it and forget it.
    Delete(String),
    /// Which apps are there?
    List,
    /// What about this app?
    Show(String),
    /// What about this deployment?
    Deployment(u64),
}

impl Ask {
    /// The name of the app that it may change.
    fn changes(&self) -> Option<&str> {
        match self {
            Self::Deploy { name, .. } | Self::Scale { name, .. } | Self::Restart(name) | Self::Delete(name) => {
                Some(name)
            }
            Self::List | Self::Show(_) | Self::Deployment(_) => None,
        }
    }
}

/// What users are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A deployment is under way.
    Accepted(DeploymentView),
    /// It is being deleted.
    Deleting,
    /// The apps.
    Apps(Vec<AppView>),
    /// The app.
    App(AppView),
    /// The deployment.
    Deployment(DeploymentView),
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The app file is not acceptable.
    #[error(transparent)]
    Spec(#[from] spec::SpecError),
    /// The file is another app's.
    #[error("the app file is for {in_file:?}, the request is for {asked:?}")]
    OtherName {
        /// The name in the file.
        in_file: Arc<str>,
        /// The name in the request.
        asked: String,
    },
    /// No such app.
    #[error("no app is called {name:?}{}", known(.names))]
    UnknownApp {
        /// The name.
        name: String,
        /// Those that there are.
        names: Vec<Arc<str>>,
    },
    /// No such deployment, or no longer.
    #[error("deployment {0} is not known, or no longer")]
    UnknownDeployment(u64),
    /// The app is on its way out.
    #[error("app {0:?} is being deleted; try again when its last instance has ended")]
    Deleting(Arc<str>),
    /// Nothing of it has ever run well.
    #[error("app {0:?} has no version that could be scaled or restarted; deploy one first")]
    NoVersion(Arc<str>),
    /// Too many instances.
    #[error("instances: expected 0 to {MAX_INSTANCES}, got {0}")]
    TooManyInstances(u32),
    /// Too many apps.
    #[error("there are {MAX_APPS} apps, which is the limit")]
    TooManyApps,
}

fn known(names: &[Arc<str>]) -> String {
    match names {
        [] => "; there are none".to_owned(),
        names => format!("; there are {}", names.join(", ")),
    }
}

/// What the policy does to the outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Answer that request.
    Reply(u64, Result<Answer, Refused>),
    /// Something that people want to know.
    Note(String),
}

/// The state of the framework.
#[derive(Debug)]
pub struct Policy {
    role: Role,
    apps: BTreeMap<Arc<str>, App>,
    counters: Counters,
    /// What is saved under which key.
    saved: BTreeMap<String, Vec<u8>>,
    /// The app of each task that is known.
    owners: BTreeMap<TaskId, Arc<str>>,
    /// Whether moments have been set after the process began.
    resumed: bool,
    agenda: Agenda,
    /// The apps that have found no room for all of their instances.
    lacking: BTreeSet<Arc<str>>,
}

/// The apps that an event touches, by name.
type Touched = BTreeSet<Arc<str>>;

impl Policy {
    /// A policy that goes on where `saved` was left; with nothing saved, it begins.
    pub fn recover(role: Role, saved: &BTreeMap<String, Vec<u8>>) -> Result<Self, SavedError> {
        let (counters, apps) = saved::decode(saved)?;
        let owners =
            apps.values().flat_map(|app| app.instances.keys().map(|task| (task.clone(), app.name.clone()))).collect();
        let is_ours =
            |key: &String| *key == saved::COUNTERS_KEY || apps.keys().any(|name| *key == saved::app_key(name));
        let saved =
            saved.iter().filter(|(key, _)| is_ours(key)).map(|(key, bytes)| (key.clone(), bytes.clone())).collect();
        let (agenda, lacking) = (Agenda::default(), BTreeSet::new());
        Ok(Self { role, apps, counters, saved, owners, resumed: false, agenda, lacking })
    }

    fn resume(&mut self, now: Time) {
        for instance in self.apps.values_mut().flat_map(|app| app.instances.values_mut()) {
            instance.resume(now);
        }
        self.resumed = true;
    }

    fn answer(&mut self, now: Time, ask: Ask) -> Result<Answer, Refused> {
        match ask {
            Ask::Deploy { name, text } => self.deploy(now, &name, text),
            Ask::Scale { name, instances } => self.scale(now, &name, instances),
            Ask::Restart(name) => self.restart(now, &name),
            Ask::Delete(name) => self.app(&name).map(App::delete).map(|()| Answer::Deleting),
            Ask::List => Ok(Answer::Apps(self.apps.values().map(|app| app.view(now)).collect())),
            Ask::Show(name) => self.app(&name).map(|app| Answer::App(app.view(now))),
            Ask::Deployment(id) => {
                let mut found = self.apps.values().filter_map(|app| Some((app, app.deployment(id)?)));
                let (app, deployment) = found.next().ok_or(Refused::UnknownDeployment(id))?;
                Ok(Answer::Deployment(app.view_deployment(deployment, now)))
            }
        }
    }

    fn deploy(&mut self, now: Time, name: &str, text: Arc<str>) -> Result<Answer, Refused> {
        let spec = spec::parse(name, &text)?;
        if *spec.name != *name {
            return Err(Refused::OtherName { in_file: spec.name, asked: name.to_owned() });
        }
        if !self.apps.contains_key(name) && self.apps.len() >= MAX_APPS {
            return Err(Refused::TooManyApps);
        }
        let id = self.next_deployment();
        let app = self.apps.entry(spec.name.clone()).or_insert_with(|| App::new(spec.name.clone()));
        if app.deleting {
            return Err(Refused::Deleting(app.name.clone()));
        }
        let same = app.wanted_version().is_some_and(|(_, version)| is_same(&version.spec, &spec));
        let id = if same {
            app.scale(id, spec.instances)
        } else {
            app.deploy(id, Kind::Deploy, Version { text, instances: spec.instances, spec });
            id
        };
        Ok(accepted(app, id, now))
    }

    fn scale(&mut self, now: Time, name: &str, instances: u32) -> Result<Answer, Refused> {
        if instances > MAX_INSTANCES {
            return Err(Refused::TooManyInstances(instances));
        }
        let id = self.next_deployment();
        let app = self.changeable(name)?;
        let id = app.scale(id, instances);
        Ok(accepted(app, id, now))
    }

    fn restart(&mut self, now: Time, name: &str) -> Result<Answer, Refused> {
        let id = self.next_deployment();
        let app = self.changeable(name)?;
        let version = app.wanted_version().map(|(_, version)| version.clone()).expect("a changeable app has a version");
        app.deploy(id, Kind::Restart, version);
        Ok(accepted(app, id, now))
    }

    fn next_deployment(&mut self) -> u64 {
        let id = self.counters.next_deployment;
        self.counters.next_deployment += 1;
        id
    }

    fn app(&mut self, name: &str) -> Result<&mut App, Refused> {
        if !self.apps.contains_key(name) {
            return Err(Refused::UnknownApp { name: name.to_owned(), names: self.apps.keys().cloned().collect() });
        }
        Ok(self.apps.get_mut(name).expect("it was there a line ago"))
    }

    /// An app that has a version and is not being deleted.
    fn changeable(&mut self, name: &str) -> Result<&mut App, Refused> {
        let app = self.app(name)?;
        if app.deleting {
            return Err(Refused::Deleting(app.name.clone()));
        }
        if app.target.is_none() { Err(Refused::NoVersion(app.name.clone())) } else { Ok(app) }
    }

    fn on_update(&mut self, now: Time, status: &Status, touched: &mut Touched, out: &mut Out<Effect>) {
        let Some(app) = self.owners.get(&status.task).and_then(|name| self.apps.get_mut(name)) else { return };
        touched.insert(app.name.clone());
        let lost = status.state == TaskState::Unknown;
        if !status.state.is_terminal() && !lost {
            app.on_status(now, status);
            return;
        }
        let (cause, text) = (cause(status), describe(status));
        if app.instances.get(&status.task).is_some_and(instance::Instance::is_alive) {
            out.effect(Effect::Note(format!("{}: {} {text}", app.name, status.task)));
        }
        app.on_end(now, &status.task, cause, &text);
        self.owners.remove(&status.task);
    }

    fn on_rejected(
        &mut self,
        now: Time,
        tasks: &[TaskId],
        reject: &Reject,
        touched: &mut Touched,
        out: &mut Out<Effect>,
    ) {
        let cause = if reject.is_transient() { Cause::Foreign } else { Cause::Hopeless };
        for task in tasks {
            let Some(app) = self.owners.remove(task).and_then(|name| self.apps.get_mut(&name)) else { continue };
            touched.insert(app.name.clone());
            out.effect(Effect::Note(format!("{}: the master refuses to launch {task}: {reject}", app.name)));
            app.on_end(now, task, cause, &format!("was refused by the master: {reject}"));
        }
    }

    /// Lets the apps look at where they stand; says what is to end.
    fn step(&mut self, now: Time, touched: &Touched) -> Vec<TaskId> {
        let mut ending = Vec::new();
        for name in touched {
            let Some(app) = self.apps.get_mut(name) else { continue };
            ending.extend(app.step(now));
            if app.deleting && app.instances.is_empty() {
                self.apps.remove(name);
            }
        }
        ending
    }

    /// Places what is missing, and says what finds no place.
    fn place(&mut self, now: Time, touched: &Touched, out: &Out<Effect>) -> Placed {
        let mut packer = Packer::new(&self.role, out.offers());
        let hosts: BTreeMap<AgentId, Arc<str>> =
            out.offers().map(|offer| (offer.agent, launch::host_of(offer))).collect();
        let mut demand = Demand::default();
        // Agents that none of those who lack something can use, and that the demand can't name.
        let mut useless: Option<BTreeSet<Arc<str>>> = None;
        for name in touched {
            self.lacking.remove(name);
            let Some(app) = self.apps.get_mut(name) else { continue };
            let gathers = app.gathers(now);
            let Some((version, count)) = app.to_launch(now) else { continue };
            let spec = app.versions[&version].spec.clone();
            let needs = launch::needs(&spec);
            let mut missing = count;
            while missing > 0 && !gathers {
                let Some(place) = packer.place_ranked(&needs, launch::strategy(&spec), app.crowd(version, &spec))
                else {
                    break;
                };
                let id = TaskId::new(&format!("{}-{}", app.name, self.counters.next_task))
                    .expect("an app's name and a number");
                self.counters.next_task += 1;
                packer.launch(&place, launch::task(id.clone(), &spec, version, &self.role, &place));
                let host = hosts.get(&place.agent).cloned().unwrap_or_else(|| place.agent_name.clone());
                app.instances.insert(id.clone(), launch::instance(now, version, &place, host));
                self.owners.insert(id, app.name.clone());
                missing -= 1;
            }
            if missing > 0 {
                self.lacking.insert(name.clone());
                let (constraint, unnamed) = crowd::elsewhere(&spec, app.full(&spec));
                useless = Some(useless.map_or_else(|| unnamed.clone(), |others| &others & &unnamed));
                if demand.shapes.len() < Demand::MAX_SHAPES {
                    demand.shapes.push(Shape { constraint, ..needs.shape(name, missing) });
                }
            }
        }
        let declined = crowd::idle_on(&useless.unwrap_or_default(), &packer, out.offers());
        Placed { packer, demand, declined }
    }

    /// Saves what has changed since it was saved last.
    fn save(&mut self, touched: &Touched, out: &mut Out<Effect>) {
        let apps = touched.iter().map(|name| (saved::app_key(name), self.apps.get(name).map(saved::encode_app)));
        let counters = (saved::COUNTERS_KEY.to_owned(), Some(saved::encode_counters(&self.counters)));
        for (key, value) in apps.chain([counters]) {
            match value {
                Some(value) if self.saved.get(&key) != Some(&value) => {
                    out.save(key.clone(), value.clone());
                    self.saved.insert(key, value);
                }
                Some(_) => {}
                None => {
                    if self.saved.remove(&key).is_some() {
                        out.forget(key);
                    }
                }
            }
        }
    }
}

impl Scheduler for Policy {
    type Command = Command;
    type Effect = Effect;

    fn on_event(&mut self, now: Time, event: Happening<Command>, out: &mut Out<Effect>) {
        let mut touched: Touched = self.agenda.due(now).chain(&self.lacking).cloned().collect();
        if !self.resumed {
            self.resume(now);
            touched.extend(self.apps.keys().cloned());
        }
        let mut ending = Vec::new();
        let mut reply = None;
        match event {
            Happening::Subscribed { .. } => ending = self.still_ending(),
            Happening::Update(status) => self.on_update(now, &status, &mut touched, out),
            Happening::Rejected { tasks, reject } => self.on_rejected(now, &tasks, &reject, &mut touched, out),
            Happening::Command(Command { request, ask }) => {
                touched.extend(ask.changes().map(Arc::from));
                reply = Some((request, self.answer(now, ask)));
            }
            Happening::Refused(reject) => {
                out.effect(Effect::Note(format!("the master ended the web framework: {reject}")));
            }
            Happening::Offers
            | Happening::Disconnected
            | Happening::Rescinded(_)
            | Happening::AgentLost(_)
            | Happening::AgentLeaves { .. }
            | Happening::Prices(_)
            | Happening::Message { .. }
            | Happening::Tick => {}
        }
        ending.extend(self.step(now, &touched));
        let Placed { packer, demand, declined } = self.place(now, &touched, out);
        self.save(&touched, out);
        packer.submit(out, &Refusal::default());
        if !declined.is_empty() {
            out.decline(&declined, Refusal { duration: FULL, ..Refusal::default() });
        }
        // After the launches: the master takes back offers that meet no demand.
        out.demand(&self.role, demand);
        for task in ending {
            out.kill(&task, None);
        }
        if let Some((request, answer)) = reply {
            out.effect(Effect::Reply(request, answer));
        }
        for name in &touched {
            self.agenda.set(name, self.apps.get(name).and_then(|app| app.next_deadline(now)));
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        self.agenda.next()
    }
}

impl Policy {
    /// Those that were told to end in an earlier life or connection: they are told again.
    fn still_ending(&self) -> Vec<TaskId> {
        let instances = self.apps.values().flat_map(|app| &app.instances);
        instances.filter(|(_, instance)| !instance.is_alive()).map(|(task, _)| task.clone()).collect()
    }
}

/// What found a place, and what did not.
struct Placed {
    packer: Packer,
    demand: Demand,
    /// Offers that would take the place of others of more use.
    declined: Vec<OfferId>,
}

fn accepted(app: &App, id: u64, now: Time) -> Answer {
    let deployment = app.deployment(id).expect("the deployment has just begun");
    Answer::Accepted(app.view_deployment(deployment, now))
}

/// Whether two specifications differ in nothing but the number of instances.
fn is_same(a: &AppSpec, b: &AppSpec) -> bool {
    AppSpec { instances: 0, ..a.clone() } == AppSpec { instances: 0, ..b.clone() }
}

fn cause(status: &Status) -> Cause {
    use rialto_sdk::core::model::Reason;
    let lost = matches!(
        status.state,
        TaskState::Lost
            | TaskState::Dropped
            | TaskState::Gone
            | TaskState::GoneByOperator
            | TaskState::Unknown
            | TaskState::Killed
    );
    match status.reason {
        Some(Reason::KillRequested) => Cause::Foreign,
        Some(reason) if reason.is_infrastructure() => Cause::Foreign,
        Some(_) => Cause::Own,
        None if lost => Cause::Foreign,
        None => Cause::Own,
    }
}

/// How an instance ended, for people.
fn describe(status: &Status) -> String {
    let exit = status.exit.map(|exit| exit.to_string()).or_else(|| status.reason.map(|reason| reason.to_string()));
    let exit = exit.unwrap_or_else(|| status.state.to_string());
    match &*status.message {
        "" => format!("ended: {exit}"),
        message if message.contains(&exit) => format!("ended: {message}"),
        message => format!("ended: {exit}: {message}"),
    }
}

#[cfg(test)]
mod tests;
