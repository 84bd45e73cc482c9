//! Where the core's types meet those of the wire, and its refusals those of gRPC.

use tonic::Status;

use rialto_core::model::{CallId, ClusterId, Event, Outcome, Reject, Rejection, TaskId};
use rialto_proto::hello::Hello;
use rialto_proto::status::reject_to_status;
use rialto_proto::{ConvertError, v1};

use crate::bulk::BulkError;
use crate::mailbox::Closed;

/// Whether a client that says `theirs` first can be served by the master of `cluster`.
pub(crate) fn check_hello(theirs: Option<v1::Hello>, cluster: ClusterId) -> Result<(), Reject> {
    let hello = Hello::expect(theirs)?;
    match hello.cluster {
        Some(other) if other != cluster => {
            Err(Reject::invalid("hello.cluster", "expected this master's cluster, or none"))
        }
        _ => Ok(()),
    }
}

/// What is wrong in the message number `index` of the frame's list `list`.
pub(crate) fn refused(list: &str, index: usize, error: ConvertError) -> Reject {
    let dot = if error.field.is_empty() { "" } else { "." };
    Reject::invalid(format!("{list}[{index}]{dot}{}", error.field), error.message)
}

/// The outcome of a call that could not be understood, if it has a number to be answered under.
pub(crate) fn refused_call(call: &v1::Call) -> Option<impl FnOnce(Reject) -> Event + use<>> {
    let (id, task) = match call.call.as_ref()? {
        v1::call::Call::Accept(accept) => (accept.id, None),
        v1::call::Call::AcceptGang(gang) => (gang.id, None),
        v1::call::Call::Kill(kill) => (kill.id, TaskId::new(&kill.task).ok()),
        _ => return None,
    };
    Some(move |reject| {
        let rejected = vec![Rejection { operation: 0, tasks: task.into_iter().collect(), reject }];
        Event::Outcome(Outcome { call: CallId(id), rejected })
    })
}

/// The status by which a connection ends.
pub(crate) fn closed(reason: &Closed) -> Status {
    match reason {
        Closed::Rejected(reject) => reject_to_status(reject),
        Closed::BadMessage(message) => Status::invalid_argument(message),
        Closed::TooSlow => Status::resource_exhausted(reason.to_string()),
        Closed::Stopping | Closed::ByPeer => Status::unavailable(reason.to_string()),
    }
}

/// The status of a read that failed.
pub(crate) fn bulk_failed(error: &BulkError) -> Status {
    let message = error.to_string();
    match error {
        BulkError::UnknownTask(_) | BulkError::NotFound(_) => Status::not_found(message),
        BulkError::AgentAway(_) | BulkError::Stopping | BulkError::Broken(_) => Status::unavailable(message),
        BulkError::NoAnswer { .. } => Status::deadline_exceeded(message),
        BulkError::Busy => Status::resource_exhausted(message),
        BulkError::Invalid(_) => Status::invalid_argument(message),
        BulkError::Io(_) => Status::internal(message),
    }
}
