use std::collections::BTreeMap;

use rialto_core::model::{
    AttributeConstraint, Domain, Least, Milli, OfferConstraints, OfferRules, Pattern, Predicate, Quantities, Regions,
    ResourceName, Role, Subject,
};

use super::error::{At, ConvertError};
use super::fields::at_most;
use super::quota::amounts;
use super::{Converted, Wire, inside, limits, list, one_of, to_list};
use crate::v1;
use crate::v1::attribute_constraint::{Of, Predicate as Kind};

const NOTHING: v1::Nothing = v1::Nothing {};

impl Wire for OfferRules {
    type Message = v1::OfferRules;

    fn to_wire(&self) -> v1::OfferRules {
        let constraints = self.constraints.iter().map(|(role, constraints)| v1::RoleConstraints {
            role: role.to_wire(),
            groups: constraints.groups().iter().map(|group| to_group(group)).collect(),
        });
        let least = self.least.iter().map(|(role, least)| v1::RoleLeast {
            role: role.to_wire(),
            any_of: least.alternatives().iter().map(to_least).collect(),
        });
        v1::OfferRules {
            constraints: constraints.collect(),
            least: least.collect(),
            all_regions: self.regions == Regions::All,
        }
    }

    fn from_wire(rules: v1::OfferRules) -> Converted<Self> {
        Ok(Self {
            constraints: by_role(rules.constraints, from_constraints).at("constraints")?,
            least: by_role(rules.least, from_role_least).at("least")?,
            regions: if rules.all_regions { Regions::All } else { Regions::Home },
        })
    }
}

/// The messages, converted and each under its role; no role comes twice.
fn by_role<M, T>(messages: Vec<M>, convert: impl Fn(M) -> Converted<(Role, T)>) -> Converted<BTreeMap<Role, T>> {
    at_most(messages.len(), limits::MAX_ROLES)?;
    let mut roles = BTreeMap::new();
    for (index, message) in messages.into_iter().enumerate() {
        let (role, value) = convert(message).at_index(index)?;
        if roles.insert(role.clone(), value).is_some() {
            return Err(ConvertError::here(format!("expected each role once, got {role} twice"))).at_index(index);
        }
    }
    Ok(roles)
}

fn from_constraints(message: v1::RoleConstraints) -> Converted<(Role, OfferConstraints)> {
    let role = inside(message.role, "role")?;
    at_most(message.groups.len(), OfferConstraints::MAX_GROUPS).at("groups")?;
    let groups = message.groups.into_iter().enumerate();
    let groups: Vec<Vec<AttributeConstraint>> =
        groups.map(|(index, group)| from_group(group).at_index(index).at("groups")).collect::<Converted<_>>()?;
    Ok((role, OfferConstraints::any_of(groups).map_err(ConvertError::here)?))
}

fn to_group(group: &[AttributeConstraint]) -> v1::ConstraintGroup {
    v1::ConstraintGroup { constraints: to_list(group) }
}

fn from_group(group: v1::ConstraintGroup) -> Converted<Vec<AttributeConstraint>> {
    list(group.constraints, "constraints", OfferConstraints::MAX_CONSTRAINTS)
}

impl Wire for AttributeConstraint {
    type Message = v1::AttributeConstraint;

    fn to_wire(&self) -> v1::AttributeConstraint {
        let of = match &self.of {
            Subject::Attribute(name) => Of::Attribute(name.as_ref().to_owned()),
            Subject::HostName => Of::HostName(NOTHING),
            Subject::Region => Of::Region(NOTHING),
            Subject::Zone => Of::Zone(NOTHING),
        };
        let predicate = match &self.predicate {
            Predicate::Exists => Kind::Exists(NOTHING),
            Predicate::NotExists => Kind::NotExists(NOTHING),
            Predicate::TextEquals(text) => Kind::TextEquals(text.as_ref().to_owned()),
            Predicate::TextNotEquals(text) => Kind::TextNotEquals(text.as_ref().to_owned()),
            Predicate::TextMatches(pattern) => Kind::TextMatches(pattern.as_str().to_owned()),
            Predicate::TextNotMatches(pattern) => Kind::TextNotMatches(pattern.as_str().to_owned()),
        };
        v1::AttributeConstraint { of: Some(of), predicate: Some(predicate) }
    }

    fn from_wire(constraint: v1::AttributeConstraint) -> Converted<Self> {
        let of = match one_of(constraint.of).at("of")? {
            Of::Attribute(name) => Subject::attribute(&name).map_err(ConvertError::here).at("attribute")?,
            Of::HostName(_) => Subject::HostName,
            Of::Region(_) => Subject::Region,
            Of::Zone(_) => Subject::Zone,
        };
        let pattern = |text: &str| Pattern::new(text).map_err(ConvertError::here);
        let predicate = match one_of(constraint.predicate).at("predicate")? {
            Kind::Exists(_) => Predicate::Exists,
            Kind::NotExists(_) => Predicate::NotExists,
            Kind::TextEquals(text) => Predicate::equals(&text).map_err(ConvertError::here).at("text_equals")?,
            Kind::TextNotEquals(text) => Predicate::differs(&text).map_err(ConvertError::here).at("text_not_equals")?,
            Kind::TextMatches(text) => Predicate::TextMatches(pattern(&text).at("text_matches")?),
            Kind::TextNotMatches(text) => Predicate::TextNotMatches(pattern(&text).at("text_not_matches")?),
        };
        Ok(Self { of, predicate })
    }
}

fn to_least(quantities: &Quantities) -> v1::Least {
    let scalar =
        |(name, amount): (&ResourceName, Milli)| v1::Scalar { name: name.as_str().to_owned(), milli: amount.0 };
    v1::Least { amounts: quantities.iter().map(scalar).collect() }
}

fn from_role_least(message: v1::RoleLeast) -> Converted<(Role, Least)> {
    let role = inside(message.role, "role")?;
    at_most(message.any_of.len(), Least::MAX_ALTERNATIVES).at("any_of")?;
    let mut any_of = Vec::new();
    for (index, alternative) in message.any_of.into_iter().enumerate() {
        let mut quantities = Quantities::new();
        for (name, amount) in amounts(alternative.amounts).at("amounts").at_index(index).at("any_of")? {
            quantities.set(&name, amount);
        }
        any_of.push(quantities);
    }
    Ok((role, Least::any_of(any_of).map_err(ConvertError::here).at("any_of")?))
}

impl Wire for Domain {
    type Message = v1::Domain;

    fn to_wire(&self) -> v1::Domain {
        v1::Domain { region: self.region().as_ref().to_owned(), zone: self.zone().as_ref().to_owned() }
    }

    fn from_wire(domain: v1::Domain) -> Converted<Self> {
        Self::new(&domain.region, &domain.zone).map_err(ConvertError::here)
    }
}
