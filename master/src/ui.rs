//! The pages: one that shows the cluster and refreshes itself, one that follows a task's log, one that asks for the token.
//!
//! Everything is rendered here and embedded; nothing is loaded from elsewhere. The script only fetches the page's body anew.

mod body;
mod parts;
mod roles;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Form;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use maud::{DOCTYPE, Markup, html};
use serde::Deserialize;

use rialto_core::master::view::{DeviceView, View};
use rialto_core::model::{DeviceState, Health};

use crate::api;
use crate::auth::COOKIE;
use crate::http::{App, Refusal, Transport, cluster, tasks};

/// How many rows of each table a page shows; programs read the rest under `/api`.
const ROWS_MAX: usize = 500;
/// How many tasks a page shows.
const TASKS_MAX: usize = 100;
/// How much of the end of a log the page begins with, in bytes.
const LOG_TAIL: u64 = 64 << 10;

/// What one rendering of the page shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) cluster: api::Cluster,
    pub(crate) agents: Vec<api::Agent>,
    pub(crate) frameworks: Vec<api::Framework>,
    /// In the order of the tree.
    pub(crate) roles: Vec<api::RoleRow>,
    /// How many roles there are, those that are not shown among them.
    pub(crate) roles_total: u64,
    pub(crate) classes: Vec<api::DeviceClass>,
    /// The held ones first, then those that can't be had, then the free ones.
    pub(crate) devices: Vec<api::Device>,
    /// How many devices an agent has, and how many of them are held.
    pub(crate) device_counts: BTreeMap<String, DeviceCount>,
    pub(crate) tasks: api::Tasks,
    /// The query string of the filter on tasks, and in words.
    pub(crate) filter: Option<String>,
    /// When it was taken, in milliseconds since the epoch.
    pub(crate) now_ms: i64,
}

/// How many devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeviceCount {
    pub(crate) held: usize,
    pub(crate) total: usize,
}

impl Snapshot {
    /// At most [`ROWS_MAX`] rows a table, [`TASKS_MAX`] tasks.
    pub(crate) fn take(view: &View, change: u64, tasks: &tasks::Selection) -> Self {
        let mut devices: Vec<_> = view.devices.iter().collect();
        devices.sort_by_key(|(_, device)| rank(device));
        let devices = devices.into_iter().take(ROWS_MAX);
        let roles = roles::in_tree(api::Roles::all(view).roles);
        Self {
            roles_total: roles.len() as u64,
            roles: roles.into_iter().take(ROWS_MAX).collect(),
            cluster: cluster::sums(view, change),
            agents: view.agents.iter().take(ROWS_MAX).map(|(id, agent)| api::Agent::new(*id, agent)).collect(),
            frameworks: view.frameworks.iter().take(ROWS_MAX).map(|(id, row)| api::Framework::new(*id, row)).collect(),
            classes: api::DeviceClass::all(view),
            devices: devices.map(|((agent, id), device)| api::Device::new(*agent, id, device)).collect(),
            device_counts: device_counts(view),
            tasks: tasks.apply(view),
            filter: filter_words(tasks),
            now_ms: now_ms(),
        }
    }

    async fn of(app: &App, filter: tasks::Filter) -> Result<Self, Refusal> {
        let mut selection = filter.parse()?;
        selection.limit = selection.limit.min(TASKS_MAX);
        let taken = app.ask(move |view, change| Self::take(view, change, &selection)).await?;
        let identity = api::Cluster {
            cluster: format!("{:032x}", app.cluster.0),
            term: app.term.0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..taken.cluster
        };
        Ok(Self { cluster: identity, ..taken })
    }
}

fn rank(device: &DeviceView) -> u8 {
    match device.state {
        DeviceState::Allocated(_) | DeviceState::Sliced(_) => 0,
        DeviceState::Cleaning { .. } | DeviceState::Quarantined { .. } => 1,
        DeviceState::Free if device.device.health == Health::Healthy => 3,
        DeviceState::Free => 2,
    }
}

fn device_counts(view: &View) -> BTreeMap<String, DeviceCount> {
    let mut counts = BTreeMap::<_, DeviceCount>::new();
    for ((agent, _), device) in &view.devices {
        let count = counts.entry(*agent).or_default();
        count.total += 1;
        count.held += usize::from(device.state.holders().next().is_some());
    }
    counts.into_iter().map(|(agent, count)| (agent.to_string(), count)).collect()
}

fn filter_words(tasks: &tasks::Selection) -> Option<String> {
    let framework = tasks.framework.map(|framework| format!("of {framework}"));
    let state = tasks.state.map(|state| format!("in {state}"));
    let words: Vec<String> = framework.into_iter().chain(state).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(crate) async fn page(
    State(app): State<App>,
    query: Result<Query<tasks::Filter>, QueryRejection>,
) -> Result<Response, Refusal> {
    let snapshot = Snapshot::of(&app, tasks::parse_query(query)?).await?;
    let main = html! { main #body data-refresh="/ui/body" { (body::render(&snapshot)) } };
    Ok(document("Rialto", &main).into_response())
}

/// The part of the page that is fetched anew.
pub(crate) async fn body(
    State(app): State<App>,
    query: Result<Query<tasks::Filter>, QueryRejection>,
) -> Result<Response, Refusal> {
    let snapshot = Snapshot::of(&app, tasks::parse_query(query)?).await?;
    let body = Html(body::render(&snapshot).into_string());
    Ok(([(header::CACHE_CONTROL, "no-store")], body).into_response())
}

/// Which log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogFile {
    file: Option<String>,
}

pub(crate) async fn logs_page(
    State(app): State<App>,
    Path(path): Path<(String, String)>,
    query: Result<Query<LogFile>, QueryRejection>,
) -> Result<Html<String>, Refusal> {
    let task = tasks::find(&app, tasks::parse_key(&path)?).await?;
    let file = tasks::parse_query(query)?.file.unwrap_or_else(|| "stdout".to_owned());
    Ok(logs_document(&task, &file))
}

fn logs_document(task: &api::Task, file: &str) -> Html<String> {
    let path = parts::task_path(task);
    let source = format!("/api/tasks/{path}/logs?file={}&tail={LOG_TAIL}&follow=true", parts::escape_path(file));
    let main = html! {
        main {
            nav { a href="/" { "← Cluster" } }
            h1 { (task.name) " " (parts::task_id(task)) }
            p { (parts::state(&task.state)) " on " (task.agent) " " span.muted { (task.message) } }
            nav.tabs aria-label="Files" {
                @for name in ["stdout", "stderr"] {
                    a href=(format!("/ui/logs/{path}?file={name}")) aria-current=[(name == file).then_some("page")] { (name) }
                }
            }
            pre #log tabindex="0" data-source=(source) aria-label=(format!("{file} of {}", task.name)) {}
            p.muted #log-state role="status" { "Opening…" }
            noscript { p { a href=(source) { "Open the log as plain text" } } }
        }
    };
    document(&format!("{} · {file}", task.name), &main)
}

pub(crate) async fn login_page() -> Html<String> {
    login_document(None)
}

/// What the login page sends.
#[derive(Clone, Deserialize)]
pub(crate) struct Login {
    token: String,
}

pub(crate) async fn log_in(State(app): State<App>, Form(login): Form<Login>) -> Response {
    let Some(session) = app.guard.log_in(login.token.trim()) else {
        let wrong = login_document(Some("This is not the cluster's token."));
        return (StatusCode::UNAUTHORIZED, wrong).into_response();
    };
    let secure = if app.transport == Transport::Tls { "; Secure" } else { "" };
    let cookie = format!("{COOKIE}={session}; Path=/; HttpOnly; SameSite=Strict{secure}");
    ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response()
}

fn login_document(problem: Option<&str>) -> Html<String> {
    let main = html! {
        main.login {
            h1 { "Rialto" }
            @if let Some(problem) = problem { p.problem role="alert" { (problem) } }
            form method="post" action="/login" {
                label for="token" { "Token" }
                input #token name="token" type="password" autocomplete="current-password" required autofocus;
                button type="submit" { "Log in" }
            }
            p.muted { "The token lies in the file " code { "token" } " of the master's work dir." }
        }
    };
    document("Rialto · log in", &main)
}

fn document(title: &str, main: &Markup) -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" href="data:,";
                link rel="stylesheet" href="/ui/style.css";
                script src="/ui/page.js" defer {}
            }
            body { (main) }
        }
    };
    Html(page.into_string())
}

pub(crate) async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("ui/style.css")).into_response()
}

pub(crate) async fn script() -> Response {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("ui/page.js")).into_response()
}

#[cfg(test)]
mod tests;
