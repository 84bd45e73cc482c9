//! Fetching what the members of a group need, before its supervisor is spawned.

use rialto_core::agent::End;

use super::{Group, sandbox};
use crate::fetch::{FetchError, Job, Problem};
use crate::images::Image;
use crate::supervisor::protocol::{CommandLine, ImageRoot, OciRuntime};
use crate::supervisor::{owner, protocol};

/// How many variables come first in every environment: see [`plan`](super::plan).
const AGENTS_VARIABLES: usize = 2;

/// What came of fetching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fetched {
    /// Everything is there.
    Ready,
    /// The group has ended instead.
    Ended,
}

impl Group {
    /// Makes the group's image ready, if it has one, and its files those that the group sees.
    pub(super) async fn fetch_image(&mut self, spec: &mut protocol::Spec) -> Fetched {
        let Some(name) = self.image.clone() else { return Fetched::Ready };
        let launcher = self.launcher.clone();
        let runtime = match launcher.isolation.runtime() {
            Ok(runtime) => runtime,
            Err(message) => {
                self.launch_failed(message).await;
                return Fetched::Ended;
            }
        };
        let role = self.order.launch.group.tasks[0].role.clone();
        let found = tokio::select! {
            found = launcher.images.get(&name, &role, &launcher.fetcher) => Some(found),
            Some(_) = self.kills.recv() => None,
        };
        let error = match found {
            None => {
                self.end_all(&End::Killed(None)).await;
                return Fetched::Ended;
            }
            Some(Ok(image)) => match use_image(&image, runtime, spec) {
                Ok(()) => {
                    self.layers = Some(image.lease);
                    return Fetched::Ready;
                }
                Err(problem) => FetchError { what: "image", uri: name, problem },
            },
            Some(Err(problem)) => FetchError { what: "image", uri: name, problem },
        };
        self.not_fetched(0, &error).await
    }

    /// Fetches for one member after the other. A kill meanwhile ends the group at once.
    pub(super) async fn fetch(&mut self, spec: &protocol::Spec) -> Fetched {
        for member in 0..self.artefacts.len() {
            if self.artefacts[member].is_empty() {
                continue;
            }
            let job = match self.job(member, &spec.tasks[member]).await {
                Ok(job) => job,
                Err(message) => {
                    self.launch_failed(message).await;
                    return Fetched::Ended;
                }
            };
            let launcher = self.launcher.clone();
            let done = tokio::select! {
                done = launcher.fetcher.fetch(&job, &launcher.images) => Some(done),
                Some(_) = self.kills.recv() => None,
            };
            match done {
                Some(Ok(())) => {}
                Some(Err(error)) => return self.not_fetched(member, &error).await,
                None => {
                    self.end_all(&End::Killed(None)).await;
                    return Fetched::Ended;
                }
            }
        }
        Fetched::Ready
    }

    /// What is to be fetched for a member, and its sandbox, made.
    async fn job(&mut self, member: usize, task: &protocol::TaskSpec) -> Result<Job, String> {
        let made = task.clone();
        let made = tokio::task::spawn_blocking(move || {
            sandbox(&made).map_err(|error| format!("sandbox {}: {error}", made.sandbox.display()))?;
            Ok::<_, String>(owner(&made))
        });
        let owner = made.await.map_err(|_| "the agent is stopping".to_owned())??;
        Ok(Job {
            artefacts: self.artefacts[member].clone(),
            role: self.order.launch.group.tasks[member].role.clone(),
            sandbox: task.sandbox.clone(),
            owner,
        })
    }

    async fn not_fetched(&mut self, member: usize, error: &FetchError) -> Fetched {
        let refused = error.problem.is_artefacts_fault();
        let why = error.to_string().into();
        let end = if refused { End::ArtefactRefused(why) } else { End::FetchFailed(why) };
        self.ended(member, end).await;
        self.end_all(&End::GroupEnded).await;
        Fetched::Ended
    }
}

/// Lets every member run as the image's author wants it, unless its own description says otherwise.
fn use_image(image: &Image, runtime: Option<OciRuntime>, spec: &mut protocol::Spec) -> Result<(), Problem> {
    let is_root = rustix::process::geteuid().is_root();
    for task in &mut spec.tasks {
        // Between what the agent says of every task and what the task says of itself.
        let at = AGENTS_VARIABLES.min(task.env.len());
        task.env.splice(at..at, image.config.env.iter().cloned());
        if let CommandLine::Argv(args) = &mut task.command {
            args.splice(0..0, image.config.entrypoint.iter().cloned());
        }
        let own = Some(&image.config.working_dir).filter(|folder| !folder.is_empty());
        task.working_dir = task.working_dir.take().or_else(|| own.map(Into::into));
        if !is_root {
            // Who is not root runs everything as itself, whatever the image says.
            continue;
        }
        let user = task.user.take().or_else(|| Some(image.config.user.clone()).filter(|user| !user.is_empty()));
        let user = user.map(|user| image.resolve_user(&user)).transpose();
        task.user = user.map_err(Problem::NotThere)?;
    }
    if let Some(namespaces) = spec.container.as_mut().and_then(|container| container.namespaces.as_mut()) {
        namespaces.image = Some(ImageRoot { layers: image.layers.clone(), runtime });
    }
    Ok(())
}
