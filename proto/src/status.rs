//! Refusals as gRPC statuses: the code as gRPC has it, the stable code in the metadata, the whole [`Reject`] in the details.

use prost::Message;
use rialto_core::model::Reject;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::convert::{ConvertError, Wire};
use crate::v1;

/// The metadata entry that holds the stable code, see [`Reject::code`].
pub const CODE_KEY: &str = "rialto-code";

/// The largest details, in bytes: they travel in a header, and clients limit those. Larger ones are left out; code and message stay.
const MAX_DETAILS: usize = 4096;
/// The longest message, in bytes, for the same reason.
const MAX_MESSAGE: usize = 1024;

/// `reject` as a status.
pub fn reject_to_status(reject: &Reject) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(CODE_KEY, MetadataValue::from_static(reject.code()));
    let mut details = reject.to_wire().encode_to_vec();
    if details.len() > MAX_DETAILS {
        details.clear();
    }
    let mut message = reject.to_string();
    message.truncate(message.floor_char_boundary(MAX_MESSAGE));
    Status::with_details_and_metadata(grpc_code(reject), message, details.into(), metadata)
}

/// The refusal that a status carries; `None` if it is not one of Rialto's (a proxy's, a broken connection's) or
/// was too large to travel.
pub fn reject_from_status(status: &Status) -> Option<Reject> {
    status_code(status)?;
    let message = v1::Reject::decode(status.details()).ok()?;
    Reject::from_wire(message).ok()
}

/// The stable code that a status carries.
pub fn status_code(status: &Status) -> Option<&str> {
    status.metadata().get(CODE_KEY)?.to_str().ok()
}

/// Bad input as a status.
impl From<ConvertError> for Status {
    fn from(error: ConvertError) -> Self {
        reject_to_status(&error.into())
    }
}

const fn grpc_code(reject: &Reject) -> Code {
    match reject {
        Reject::Invalid { .. } => Code::InvalidArgument,
        Reject::NotSubscribed
        | Reject::NotSubscribedTo(_)
        | Reject::OldTerm(_)
        | Reject::ExceedsOffer { .. }
        | Reject::VolumeInUse(_) => Code::FailedPrecondition,
        Reject::UnknownFramework | Reject::UnknownAgent(_) | Reject::UnknownTask(_) | Reject::OfferGone(_) => {
            Code::NotFound
        }
        Reject::Forbidden { .. } => Code::PermissionDenied,
        Reject::OfferConflict { .. } | Reject::ClaimNotMet(_) | Reject::Superseded => Code::Aborted,
        Reject::DuplicateTask(_) | Reject::DuplicateVolume(_) => Code::AlreadyExists,
        Reject::AgentAway(_) | Reject::AgentLeaves { .. } | Reject::JournalDegraded => Code::Unavailable,
        Reject::Limit { .. } | Reject::QuotaExceeded { .. } => Code::ResourceExhausted,
        Reject::Unsupported(_) => Code::Unimplemented,
    }
}
