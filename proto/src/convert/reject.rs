use rialto_core::model::{Reject, Resources, Term};

use super::error::At;
use super::quota::{from_exceeded, to_exceeded};
use super::words::keep;
use super::{Converted, Wire, duration, inside, micros, one_of, optional, required, to_prose};
use crate::v1;
use crate::v1::reject::Reason as Kind;

const NOTHING: v1::Nothing = v1::Nothing {};

impl Wire for Reject {
    type Message = v1::Reject;

    fn to_wire(&self) -> v1::Reject {
        v1::Reject { reason: Some(to_kind(self)) }
    }

    fn from_wire(reject: v1::Reject) -> Converted<Self> {
        from_kind(one_of(reject.reason)?)
    }
}

fn to_kind(reject: &Reject) -> Kind {
    match reject {
        Reject::Invalid { field, message } => {
            Kind::Invalid(v1::InvalidField { field: to_prose(field), message: to_prose(message) })
        }
        Reject::NotSubscribed => Kind::NotSubscribed(NOTHING),
        Reject::UnknownFramework => Kind::UnknownFramework(NOTHING),
        Reject::UnknownAgent(agent) => Kind::UnknownAgent(agent.to_wire()),
        Reject::Forbidden { principal, action } => {
            Kind::Forbidden(v1::ForbiddenAction { principal: to_prose(principal), action: (*action).to_owned() })
        }
        Reject::NotSubscribedTo(role) => Kind::NotSubscribedToRole(role.to_wire()),
        Reject::OfferGone(offer) => Kind::OfferGone(offer.to_wire()),
        Reject::OfferConflict { left } => Kind::OfferConflict(left.to_wire()),
        Reject::ExceedsOffer { asked, offered } => {
            Kind::ExceedsOffer(v1::ExceededOffer { asked: Some(asked.to_wire()), offered: Some(offered.to_wire()) })
        }
        Reject::QuotaExceeded { role, resource, limit, held, asked } => {
            Kind::QuotaExceeded(to_exceeded(role, resource, [*limit, *held, *asked]))
        }
        Reject::ClaimNotMet(why) => Kind::ClaimNotMet(to_prose(why)),
        Reject::DuplicateTask(task) => Kind::DuplicateTask(task.to_wire()),
        Reject::UnknownTask(task) => Kind::UnknownTask(task.to_wire()),
        Reject::AgentAway(agent) => Kind::AgentAway(agent.to_wire()),
        Reject::AgentLeaves { agent, after } => {
            Kind::AgentLeaves(v1::LeavingAgent { agent: Some(agent.to_wire()), after_us: micros(*after) })
        }
        Reject::OldTerm(term) => Kind::OldTerm(term.0),
        Reject::Limit { what, limit } => Kind::Limit(v1::ExceededLimit { what: (*what).to_owned(), limit: *limit }),
        Reject::Unsupported(operation) => Kind::Unsupported((*operation).to_owned()),
        Reject::JournalDegraded => Kind::JournalDegraded(NOTHING),
        Reject::VolumeInUse(volume) => Kind::VolumeInUse(volume.to_wire()),
        Reject::DuplicateVolume(volume) => Kind::DuplicateVolume(volume.to_wire()),
        Reject::Superseded => Kind::Superseded(NOTHING),
    }
}

fn from_kind(kind: Kind) -> Converted<Reject> {
    Ok(match kind {
        Kind::Invalid(v1::InvalidField { field, message }) => {
            Reject::Invalid { field: to_prose(&field), message: to_prose(&message) }
        }
        Kind::NotSubscribed(_) => Reject::NotSubscribed,
        Kind::UnknownFramework(_) => Reject::UnknownFramework,
        Kind::UnknownAgent(agent) => Reject::UnknownAgent(inside(agent, "unknown_agent")?),
        Kind::Forbidden(v1::ForbiddenAction { principal, action }) => {
            Reject::Forbidden { principal: to_prose(&principal), action: keep(&action) }
        }
        Kind::NotSubscribedToRole(role) => Reject::NotSubscribedTo(inside(role, "not_subscribed_to_role")?),
        Kind::OfferGone(offer) => Reject::OfferGone(inside(offer, "offer_gone")?),
        Kind::OfferConflict(left) => Reject::OfferConflict { left: inside(left, "offer_conflict")? },
        Kind::ExceedsOffer(v1::ExceededOffer { asked, offered }) => Reject::ExceedsOffer {
            asked: optional::<Resources>(asked, "exceeds_offer.asked")?.unwrap_or_default(),
            offered: optional::<Resources>(offered, "exceeds_offer.offered")?.unwrap_or_default(),
        },
        Kind::QuotaExceeded(exceeded) => from_exceeded(exceeded).at("quota_exceeded")?,
        Kind::ClaimNotMet(why) => Reject::ClaimNotMet(to_prose(&why)),
        Kind::DuplicateTask(task) => Reject::DuplicateTask(inside(task, "duplicate_task")?),
        Kind::UnknownTask(task) => Reject::UnknownTask(inside(task, "unknown_task")?),
        Kind::AgentAway(agent) => Reject::AgentAway(inside(agent, "agent_away")?),
        Kind::AgentLeaves(v1::LeavingAgent { agent, after_us }) => Reject::AgentLeaves {
            agent: required(agent, "agent_leaves.agent")?,
            after: duration(after_us, "agent_leaves.after_us")?,
        },
        Kind::OldTerm(term) => Reject::OldTerm(Term(term)),
        Kind::Limit(v1::ExceededLimit { what, limit }) => Reject::Limit { what: keep(&what), limit },
        Kind::Unsupported(operation) => Reject::Unsupported(keep(&operation)),
        Kind::JournalDegraded(_) => Reject::JournalDegraded,
        Kind::VolumeInUse(volume) => Reject::VolumeInUse(inside(volume, "volume_in_use")?),
        Kind::DuplicateVolume(volume) => Reject::DuplicateVolume(inside(volume, "duplicate_volume")?),
        Kind::Superseded(_) => Reject::Superseded,
    })
}
