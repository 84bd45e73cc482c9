//! `/api/why`, `/api/when` and `/api/what-would-help`: asked of the core, which alone knows all that stands in the way.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use rialto_core::master::{Command, Reply, Target};

use super::tasks::{parse_framework, parse_key, parse_query};
use super::{App, Refusal};
use crate::answers;
use crate::auth::principal;

/// What is asked about: a framework, a shape of its demand, or a task of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct About {
    framework: String,
    shape: Option<String>,
    task: Option<String>,
}

impl About {
    fn target(self) -> Result<Target, Refusal> {
        match (self.shape, self.task) {
            (Some(_), Some(_)) => Err(Refusal::invalid("query", "expected shape or task, got both")),
            (Some(shape), None) => Ok(Target::Shape(parse_framework(&self.framework)?, shape)),
            (None, Some(task)) => Ok(Target::Task(parse_key(&(self.framework, task))?)),
            (None, None) => Ok(Target::Framework(parse_framework(&self.framework)?)),
        }
    }
}

type Asked = Result<Query<About>, QueryRejection>;

pub(super) async fn why(State(app): State<App>, query: Asked, headers: HeaderMap) -> Result<Json<Value>, Refusal> {
    ask(&app, Command::Why(parse_query(query)?.target()?), &headers).await
}

pub(super) async fn when(State(app): State<App>, query: Asked, headers: HeaderMap) -> Result<Json<Value>, Refusal> {
    ask(&app, Command::When(parse_query(query)?.target()?), &headers).await
}

pub(super) async fn what_would_help(
    State(app): State<App>,
    query: Asked,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    ask(&app, Command::WhatWouldHelp(parse_query(query)?.target()?), &headers).await
}

async fn ask(app: &App, command: Command, headers: &HeaderMap) -> Result<Json<Value>, Refusal> {
    let reply = app.core.command(principal(headers, "operator"), command).await.map_err(Refusal::unavailable)??;
    Ok(Json(match reply {
        Reply::Why(explanation) => answers::why(&explanation),
        Reply::When(forecast) => answers::when(&forecast),
        Reply::WhatWouldHelp(advice) => answers::what_would_help(&advice),
        Reply::Done => Value::Null,
    }))
}
