use std::cmp::Reverse;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use serde::Deserialize;

use rialto_core::master::Command;
use rialto_core::master::view::{TaskView, View};
use rialto_core::model::{FrameworkId, TaskId, TaskKey, TaskState};

use super::{App, Refusal};
use crate::api;
use crate::auth::principal;

/// How many tasks are listed unless asked otherwise, and at most.
pub(crate) const LIMIT: usize = 500;
const LIMIT_MAX: usize = 10_000;

/// Which tasks.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter {
    framework: Option<String>,
    state: Option<String>,
    limit: Option<usize>,
    offset: Option<usize>,
}

/// A [`Filter`] whose words have been understood.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Selection {
    pub(crate) framework: Option<FrameworkId>,
    pub(crate) state: Option<TaskState>,
    pub(crate) limit: usize,
    pub(crate) offset: usize,
}

impl Filter {
    pub(crate) fn parse(self) -> Result<Selection, Refusal> {
        let framework =
            self.framework.filter(|text| !text.is_empty()).map(|text| parse_framework(&text)).transpose()?;
        let state = self.state.filter(|text| !text.is_empty()).map(|text| parse_state(&text)).transpose()?;
        let limit = self.limit.unwrap_or(LIMIT);
        if limit > LIMIT_MAX {
            return Err(Refusal::invalid("limit", format!("expected at most {LIMIT_MAX}")));
        }
        Ok(Selection { framework, state, limit, offset: self.offset.unwrap_or(0) })
    }
}

impl Selection {
    /// The tasks of `view` that pass, launched last first.
    pub(crate) fn apply(&self, view: &View) -> api::Tasks {
        let passes = |(key, task): &(&TaskKey, &TaskView)| {
            self.framework.is_none_or(|framework| key.framework == framework)
                && self.state.is_none_or(|state| task.state == state)
        };
        let mut found: Vec<(&TaskKey, &TaskView)> =
            view.tasks.iter().map(|(key, task)| (key, &**task)).filter(passes).collect();
        let total = found.len() as u64;
        let order = |(key, task): &(&TaskKey, &TaskView)| (Reverse(task.launched), (*key).clone());
        let end = self.offset.saturating_add(self.limit);
        if end < found.len() {
            // Only the part that is shown needs an order.
            found.select_nth_unstable_by_key(end, order);
            found.truncate(end);
        }
        found.sort_unstable_by_key(order);
        let shown = found.into_iter().skip(self.offset);
        api::Tasks { total, tasks: shown.map(|(key, task)| api::Task::new(key, task)).collect() }
    }
}

pub(super) async fn list(
    State(app): State<App>,
    query: Result<Query<Filter>, QueryRejection>,
) -> Result<Json<api::Tasks>, Refusal> {
    let selection = parse_query(query)?.parse()?;
    app.ask(move |view, _| selection.apply(view)).await.map(Json)
}

pub(super) async fn one(
    State(app): State<App>,
    Path(path): Path<(String, String)>,
) -> Result<Json<api::Task>, Refusal> {
    let key = parse_key(&path)?;
    find(&app, key).await.map(Json)
}

/// The task's row.
pub(crate) async fn find(app: &App, key: TaskKey) -> Result<api::Task, Refusal> {
    let wanted = key.clone();
    let found = app.ask(move |view, _| view.tasks.get(&wanted).map(|task| api::Task::new(&wanted, task))).await?;
    found.ok_or_else(|| Refusal::not_found(format!("task {key} is not known, or ended too long ago")))
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kill {
    /// How long the task gets after SIGTERM, in milliseconds; none means what it says itself.
    grace_ms: Option<u64>,
}

pub(super) async fn kill(
    State(app): State<App>,
    Path(path): Path<(String, String)>,
    query: Result<Query<Kill>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Json<serde_json::Value>, Refusal> {
    let task = parse_key(&path)?;
    let grace = parse_query(query)?.grace_ms.map(Duration::from_millis);
    let command = Command::Kill { task, grace };
    let answer = app.core.command(principal(&headers, "operator"), command).await;
    answer.map_err(Refusal::unavailable)??;
    Ok(Json(serde_json::json!({})))
}

pub(crate) fn parse_query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Refusal> {
    query.map(|Query(query)| query).map_err(|error| Refusal::invalid("query", error.body_text()))
}

pub(crate) fn parse_key((framework, task): &(String, String)) -> Result<TaskKey, Refusal> {
    let task = TaskId::new(task).map_err(|error| Refusal::invalid("task", error))?;
    Ok(TaskKey::new(parse_framework(framework)?, task))
}

pub(super) fn parse_framework(text: &str) -> Result<FrameworkId, Refusal> {
    text.parse().map_err(|error| Refusal::invalid("framework", error))
}

fn parse_state(text: &str) -> Result<TaskState, Refusal> {
    let word = text.to_ascii_uppercase();
    let named = |state: &TaskState| state.as_str() == word || state.as_str().strip_prefix("TASK_") == Some(&word);
    let found = TaskState::ALL.into_iter().find(named);
    found.ok_or_else(|| {
        Refusal::invalid("state", format!("expected a state such as TASK_RUNNING or running, got {text:?}"))
    })
}
