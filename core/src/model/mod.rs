//! The field's nouns: ids, time, resources, devices, claims, roles, tasks, offers, and the messages between the machines.
//!
//! Types here are values: they hold what they say, check what they are given, and know nothing of sockets or storage. Wire and disk
//! formats are conversions at the edge (`rialto-proto`); nothing in this crate is serialised.

mod agent_info;
mod attribute;
mod by_name;
mod claim;
mod constraints;
mod device;
mod domain;
mod flavor_ref;
mod ids;
mod least;
mod messages;
mod milli;
mod offer;
mod price;
mod ranges;
mod reject;
mod resources;
mod role;
mod rules;
mod selector;
mod task;
mod time;
mod volume;

pub use agent_info::AgentInfo;
pub use attribute::Attribute;
pub use by_name::ByName;
pub use claim::{Alternative, Claim, ClaimError, Count, DeviceConstraint, Strength};
pub use constraints::{AttributeConstraint, ConstraintError, OfferConstraints, Pattern, Predicate, Subject, Traits};
pub use device::{Device, DeviceId, DeviceMode, DeviceReport, DeviceState, Health, Proof, Slice, SliceState, Topology};
pub use domain::{Domain, DomainError};
pub use ids::{
    AgentId, CallId, ClientId, ClusterId, ExecutorId, FrameworkId, GangId, IdError, OfferId, OperationId, PeerId,
    Principal, RequestId, TaskId, TaskKey, Term, UpdateId, VolumeId,
};
pub use least::{Least, LeastError};
pub use messages::{
    Accept, AcceptGang, AgentReport, Announce, Asked, Call, Capability, Event, FrameworkInfo, FromAgent, GangPart,
    Launch, Operation, Outcome, Pace, Refusal, Rejection, Subscribe, TaskReport, ToAgent,
};
pub use milli::{Milli, MilliError};
pub use offer::{Demand, Offer, OfferMode, Shape};
pub use price::{Price, PriceChange, PriceClass, PriceError, PriceKey, Prices, Quote};
pub use ranges::{Range, Ranges, RangesError};
pub use reject::Reject;
pub use resources::{
    Access, Amounts, Flavor, Guarantee, Quantities, Reservation, ReservationKind, ResourceName, Resources,
    ResourcesError, Share,
};
pub use role::{Role, RoleError};
pub use rules::{OfferRules, Regions};
pub use selector::{Attributes, Relaxed, Selector, SelectorError};
pub use task::{Body, ExecutorRef, Exit, Reason, Source, Status, Task, TaskGroup, TaskHealth, TaskState};
pub use time::{Time, WallTime};
pub use volume::{Volume, VolumeKey, VolumePathError};

/// Whether `c` may stand in a name that people give: a resource's, a part of a role, a kind of device.
fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// The number that `text` spells with digits and nothing else; the standard parser takes a leading `+` as well.
fn from_digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    let all_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits { text.parse().ok() } else { None }
}
