//! Fetching what the members of a group need, before its supervisor is spawned.

use rialto_core::agent::End;

use super::{Group, sandbox};
use crate::fetch::{FetchError, Job};
use crate::supervisor::{protocol, resolve_user};

/// What came of fetching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fetched {
    /// Everything is there.
    Ready,
    /// The group has ended instead.
    Ended,
}

impl Group {
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
                done = launcher.fetcher.fetch(&job) => Some(done),
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
            Ok::<_, String>(made.user.as_ref().and_then(|user| resolve_user(user).ok()))
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
