use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::Stream;

use super::tasks::parse_query;
use super::{App, Refusal};
use crate::api;
use crate::reads::Numbered;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct From {
    /// The number of the last change that is known already; as `Last-Event-ID`.
    after: Option<u64>,
}

/// Server-sent events: every change of the view, numbered. One that lags too far behind ends, and resumes by its last number.
pub(super) async fn events(
    State(app): State<App>,
    query: Result<Query<From>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let after = last_seen(&headers)?.or(parse_query(query)?.after);
    let begun = app.reads.follow(after).await.map_err(Refusal::unavailable)?;
    let follow = begun.map_err(|error| Refusal::new(StatusCode::GONE, "not_resumable", error))?;
    let changes = Changes { waiting: follow.missed.into(), rounds: follow.rounds };
    Ok(Sse::new(changes).keep_alive(KeepAlive::default()).into_response())
}

fn last_seen(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| Refusal::invalid("last-event-id", "expected the number of an event"))
}

/// The events of one reader.
#[derive(Debug)]
pub(super) struct Changes {
    waiting: VecDeque<Numbered>,
    rounds: mpsc::Receiver<Arc<[Numbered]>>,
}

impl Stream for Changes {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some((number, change)) = self.waiting.pop_front() {
                let row = api::Event::new(number, &change);
                let text = serde_json::to_string(&row).expect("rows are plain data with text keys");
                return Poll::Ready(Some(Ok(Event::default().id(number.to_string()).data(text))));
            }
            match std::task::ready!(self.rounds.poll_recv(cx)) {
                Some(round) => self.waiting.extend(round.iter().cloned()),
                None => return Poll::Ready(None),
            }
        }
    }
}
