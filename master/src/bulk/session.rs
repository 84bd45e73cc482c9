//! Sessions: what an operator says to a task, and hears from it. Nothing is buffered here but one message each way.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::timeout;
use tokio_stream::Stream;
use tonic::{Status, Streaming};

use rialto_core::model::Reject;
use rialto_proto::logs::BulkRequest;
use rialto_proto::session::OpenSession;
use rialto_proto::status::reject_to_status;
use rialto_proto::v1::bulk_up::Message as Up;
use rialto_proto::v1::session_output::Output;
use rialto_proto::v1::session_request::Message as Request;
use rialto_proto::{Wire, v1};

use super::{Bulk, BulkError, Chunks, OPEN_TIMEOUT, refusal};
use crate::wire;

impl Bulk {
    /// Opens the session that the first message asks for.
    pub(crate) async fn converse(&self, mut incoming: Streaming<v1::SessionRequest>) -> Result<Outputs, Status> {
        let first = timeout(OPEN_TIMEOUT, incoming.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("open: expected as the first message"))??;
        let Some(v1::SessionRequest { message: Some(Request::Open(open)) }) = first else {
            return Err(reject_to_status(&Reject::invalid("open", "expected as the first message")));
        };
        let open = OpenSession::from_wire(open)?;
        let chunks = self.ask(open.task.clone(), BulkRequest::Session(open), Some(incoming)).await;
        chunks.map(Outputs).map_err(|error| wire::bulk_failed(&error))
    }
}

/// The next thing that the operator says; one who has hung up is told of when nobody listens any more.
pub(super) fn poll_input(
    input: &mut Option<Streaming<v1::SessionRequest>>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<v1::BulkDown, Status>>> {
    let Some(stream) = input else { return Poll::Pending };
    match ready!(Pin::new(stream).poll_next(cx)) {
        Some(Ok(v1::SessionRequest { message: Some(Request::Input(said)) })) => {
            let message = v1::bulk_down::Message::Input(said);
            Poll::Ready(Some(Ok(v1::BulkDown { message: Some(message) })))
        }
        Some(Ok(_)) => {
            *input = None;
            Poll::Ready(Some(Err(Status::invalid_argument("input: expected on an open session"))))
        }
        Some(Err(_)) | None => {
            *input = None;
            Poll::Pending
        }
    }
}

/// What comes from the task; ends after the last. Dropping it tells the agent to stop.
#[derive(Debug)]
pub(crate) struct Outputs(Chunks);

impl Stream for Outputs {
    type Item = Result<v1::SessionOutput, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let chunks = &mut self.0;
        if chunks.ended {
            return Poll::Ready(None);
        }
        let failed = |error: &BulkError| Err(wire::bulk_failed(error));
        match ready!(Pin::new(&mut chunks.up).poll_next(cx)) {
            Some(Ok(v1::BulkUp { message: Some(Up::Output(output)) })) => {
                chunks.ended = matches!(output.output, Some(Output::Ended(_)));
                Poll::Ready(Some(Ok(output)))
            }
            Some(Ok(v1::BulkUp { message: Some(Up::Error(error)) })) => chunks.end(failed(&refusal(error))),
            Some(Ok(_)) => chunks.end(failed(&BulkError::Broken("expected an output or an error".to_owned()))),
            Some(Err(status)) => chunks.end(failed(&BulkError::Broken(status.message().to_owned()))),
            None => chunks.end(failed(&BulkError::Broken("expected an end".to_owned()))),
        }
    }
}
