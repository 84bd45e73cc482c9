use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use rialto_core::model::Reject;

use crate::api;
use crate::bulk::BulkError;

/// An answer that is not a success: a status and the body that says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: StatusCode,
    body: api::Error,
}

impl Refusal {
    #[expect(clippy::needless_pass_by_value, reason = "by value it can be handed to map_err")]
    pub(crate) fn new(status: StatusCode, code: &str, message: impl ToString) -> Self {
        Self { status, body: api::Error { code: code.to_owned(), message: message.to_string() } }
    }

    #[expect(clippy::needless_pass_by_value, reason = "by value it can be handed to map_err")]
    pub(crate) fn invalid(field: &str, message: impl ToString) -> Self {
        let message = message.to_string();
        Self::new(StatusCode::BAD_REQUEST, "invalid", format!("{field}: {message}"))
    }

    pub(crate) fn not_found(message: impl ToString) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(crate) fn unavailable(message: impl ToString) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

impl From<Reject> for Refusal {
    fn from(reject: Reject) -> Self {
        let status = match reject {
            Reject::Invalid { .. } => StatusCode::BAD_REQUEST,
            Reject::UnknownFramework | Reject::UnknownAgent(_) | Reject::UnknownTask(_) => StatusCode::NOT_FOUND,
            Reject::Forbidden { .. } => StatusCode::FORBIDDEN,
            _ => StatusCode::CONFLICT,
        };
        Self::new(status, reject.code(), reject)
    }
}

impl From<BulkError> for Refusal {
    fn from(error: BulkError) -> Self {
        match error {
            BulkError::UnknownTask(_) | BulkError::NotFound(_) => Self::not_found(error),
            BulkError::Invalid(_) => Self::new(StatusCode::BAD_REQUEST, "invalid", error),
            BulkError::NoAnswer { .. } => Self::new(StatusCode::GATEWAY_TIMEOUT, "no_answer", error),
            BulkError::Io(_) | BulkError::Broken(_) => Self::new(StatusCode::BAD_GATEWAY, "agent_failed", error),
            BulkError::AgentAway(_) | BulkError::Busy | BulkError::Stopping => Self::unavailable(error),
        }
    }
}
