use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use rialto_proto::ConvertError;
use rialto_proto::logs::{Follow, ReadLog, Start};

use super::tasks::{parse_key, parse_query};
use super::{App, Refusal};
use crate::bulk::RawBytes;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    /// `stdout`, `stderr`, or a path below the sandbox.
    file: Option<String>,
    /// Where to begin, in bytes from the beginning.
    offset: Option<u64>,
    /// Where to begin, in bytes before the end.
    tail: Option<u64>,
    /// Whether to go on until the task ends.
    follow: Option<bool>,
    /// The most bytes to send.
    limit: Option<u64>,
}

/// A task's log as it is, byte for byte.
pub(super) async fn logs(
    State(app): State<App>,
    Path(path): Path<(String, String)>,
    query: Result<Query<Part>, QueryRejection>,
) -> Result<Response, Refusal> {
    let task = parse_key(&path)?;
    let part = parse_query(query)?;
    let start = match (part.offset, part.tail) {
        (Some(_), Some(_)) => return Err(Refusal::invalid("tail", "expected only one of offset and tail")),
        (None, Some(tail)) => Start::Tail(tail),
        (offset, None) => Start::Offset(offset.unwrap_or(0)),
    };
    let file = part
        .file
        .as_deref()
        .unwrap_or("stdout")
        .parse()
        .map_err(|error: ConvertError| Refusal::invalid("file", error.message))?;
    let follow = if part.follow.unwrap_or(false) { Follow::UntilTaskEnds } else { Follow::No };
    let chunks = app.bulk.open(ReadLog { task, file, start, follow, limit: part.limit }).await?;
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(RawBytes(chunks))).into_response())
}
