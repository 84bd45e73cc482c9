use std::collections::BTreeSet;
use std::sync::Arc;

use rialto_core::model::{
    AgentInfo, Capability, Demand, FrameworkInfo, Guarantee, Offer, OfferMode, OfferRules, Resources, Role, Shape,
    Subscribe,
};

use super::error::At;
use super::{
    Converted, Wire, attributes, duration, expected, inside, labels, limits, list, micros, optional, optional_duration,
    optional_text, required, text, to_attributes, to_labels, to_list, wire_enum,
};
use crate::v1;

wire_enum!(OfferMode, v1::OfferMode, { Optimistic, Exclusive });

impl Wire for Subscribe {
    type Message = v1::Subscribe;

    fn to_wire(&self) -> v1::Subscribe {
        v1::Subscribe {
            framework: self.framework.map(|id| id.to_wire()),
            client: self.client.to_wire(),
            info: Some(self.info.to_wire()),
            suppressed: to_list(&self.suppressed),
            connection: self.connection,
        }
    }

    fn from_wire(subscribe: v1::Subscribe) -> Converted<Self> {
        Ok(Self {
            framework: optional(subscribe.framework, "framework")?,
            client: inside(subscribe.client, "client")?,
            info: required(subscribe.info, "info")?,
            suppressed: list(subscribe.suppressed, "suppressed", limits::MAX_ROLES)?,
            connection: subscribe.connection,
        })
    }
}

wire_enum!(Capability, v1::Capability, { TaskKilling, RevocableResources });

impl Wire for FrameworkInfo {
    type Message = v1::FrameworkInfo;

    fn to_wire(&self) -> v1::FrameworkInfo {
        v1::FrameworkInfo {
            name: self.name.as_ref().to_owned(),
            user: self.user.as_ref().to_owned(),
            roles: to_list(&self.roles),
            failover_timeout_us: micros(self.failover_timeout),
            offer_mode: self.offer_mode.to_wire(),
            offer_timeout_us: self.offer_timeout.map(micros),
            url: self.url.as_ref().map(|url| url.as_ref().to_owned()),
            labels: to_labels(&self.labels),
            capabilities: to_list(&self.capabilities),
            rules: Some(&*self.rules).filter(|rules| **rules != OfferRules::default()).map(Wire::to_wire),
        }
    }

    fn from_wire(info: v1::FrameworkInfo) -> Converted<Self> {
        let roles: BTreeSet<Role> = list(info.roles, "roles", limits::MAX_ROLES)?;
        expected(!roles.is_empty(), || "expected at least one, got none".to_owned()).at("roles")?;
        Ok(Self {
            name: text(&info.name, "name")?,
            user: text(&info.user, "user")?,
            roles,
            failover_timeout: duration(info.failover_timeout_us, "failover_timeout_us")?,
            offer_mode: inside(info.offer_mode, "offer_mode")?,
            offer_timeout: optional_duration(info.offer_timeout_us, "offer_timeout_us")?,
            url: optional_text(info.url, "url")?,
            labels: labels(info.labels, "labels")?,
            capabilities: list(info.capabilities, "capabilities", limits::MAX_CAPABILITIES)?,
            rules: Arc::new(optional::<OfferRules>(info.rules, "rules")?.unwrap_or_default()),
        })
    }
}

impl Wire for Demand {
    type Message = v1::Demand;

    fn to_wire(&self) -> v1::Demand {
        v1::Demand { shapes: to_list(&self.shapes) }
    }

    fn from_wire(demand: v1::Demand) -> Converted<Self> {
        Ok(Self { shapes: list(demand.shapes, "shapes", Self::MAX_SHAPES)? })
    }
}

impl Wire for Shape {
    type Message = v1::Shape;

    fn to_wire(&self) -> v1::Shape {
        v1::Shape {
            name: self.name.as_ref().to_owned(),
            resources: Some(self.resources.to_wire()),
            claims: to_list(&self.claims),
            constraint: self.constraint.to_wire(),
            count: self.count,
            priority: self.priority,
            expected_run_time_us: self.expected_run_time.map(micros),
        }
    }

    fn from_wire(shape: v1::Shape) -> Converted<Self> {
        Ok(Self {
            name: text(&shape.name, "name")?,
            resources: optional::<Resources>(shape.resources, "resources")?.unwrap_or_default(),
            claims: list(shape.claims, "claims", limits::MAX_CLAIMS)?,
            constraint: inside(shape.constraint, "constraint")?,
            count: shape.count,
            priority: shape.priority,
            expected_run_time: optional_duration(shape.expected_run_time_us, "expected_run_time_us")?,
        })
    }
}

impl Wire for Offer {
    type Message = v1::Offer;

    fn to_wire(&self) -> v1::Offer {
        v1::Offer {
            id: Some(self.id.to_wire()),
            agent: Some(self.agent.to_wire()),
            agent_name: self.info.name.as_ref().to_owned(),
            role: self.role.to_wire(),
            resources: Some(self.resources.to_wire()),
            devices: to_list(self.devices.iter()),
            attributes: to_attributes(&self.info.attributes),
            mode: self.mode.to_wire(),
            expires_in_us: self.expires_in.map(micros),
            borrowed: self.guarantee == Guarantee::Revocable,
            domain: self.info.domain.as_ref().map(Wire::to_wire),
        }
    }

    fn from_wire(offer: v1::Offer) -> Converted<Self> {
        Ok(Self {
            id: required(offer.id, "id")?,
            agent: required(offer.agent, "agent")?,
            info: Arc::new(AgentInfo {
                name: text(&offer.agent_name, "agent_name")?,
                attributes: attributes(offer.attributes, "attributes")?,
                domain: optional(offer.domain, "domain")?,
            }),
            role: inside(offer.role, "role")?,
            resources: Arc::new(optional::<Resources>(offer.resources, "resources")?.unwrap_or_default()),
            devices: list(offer.devices, "devices", limits::MAX_DEVICES)?,
            mode: inside(offer.mode, "mode")?,
            expires_in: optional_duration(offer.expires_in_us, "expires_in_us")?,
            guarantee: if offer.borrowed { Guarantee::Revocable } else { Guarantee::Firm },
        })
    }
}
