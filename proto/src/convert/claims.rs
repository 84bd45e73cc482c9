use rialto_core::model::{Alternative, Claim, Count, DeviceConstraint, Strength};

use super::error::{At, ConvertError};
use super::{Converted, Wire, expected, inside, limits, list, one_of, to_list, wire_enum};
use crate::v1;
use crate::v1::alternative;

wire_enum!(DeviceConstraint, v1::DeviceConstraint, { SameNumaNode, SamePciRoot, Linked });
wire_enum!(Strength, v1::Strength, { Require, Prefer });

impl Wire for Claim {
    type Message = v1::Claim;

    fn to_wire(&self) -> v1::Claim {
        v1::Claim { alternatives: to_list(&self.alternatives) }
    }

    fn from_wire(claim: v1::Claim) -> Converted<Self> {
        let alternatives: Vec<Alternative> = list(claim.alternatives, "alternatives", Self::MAX_ALTERNATIVES)?;
        expected(!alternatives.is_empty(), || "expected at least one, got none".to_owned()).at("alternatives")?;
        Ok(Self { alternatives })
    }
}

impl Wire for Alternative {
    type Message = v1::Alternative;

    fn to_wire(&self) -> v1::Alternative {
        v1::Alternative {
            kind: self.kind.as_ref().to_owned(),
            count: Some(to_count(self.count)),
            selector: self.selector.to_wire(),
            share_milli: self.share.to_wire(),
            constraints: to_list(&self.constraints),
        }
    }

    fn from_wire(alternative: v1::Alternative) -> Converted<Self> {
        check_kind(&alternative.kind).at("kind")?;
        Ok(Self {
            kind: alternative.kind.into(),
            count: one_of(alternative.count).and_then(count).at("count")?,
            selector: inside(alternative.selector, "selector")?,
            share: inside(alternative.share_milli, "share_milli")?,
            constraints: list(alternative.constraints, "constraints", limits::MAX_CONSTRAINTS)?,
        })
    }
}

/// A kind of device: a word that claims can spell.
pub(super) fn check_kind(kind: &str) -> Converted<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_kind =
        kind.starts_with(|c: char| c.is_ascii_alphabetic()) && kind.len() <= limits::MAX_NAME && kind.chars().all(good);
    let max = limits::MAX_NAME;
    expected(is_kind, || {
        format!("expected a word such as gpu of at most {max} letters, digits, '-', '_' or '.', got {kind:?}")
    })
}

fn to_count(count: Count) -> alternative::Count {
    match count {
        Count::Exactly(number) => alternative::Count::Exactly(u32::from(number)),
        Count::All => alternative::Count::All(v1::Nothing {}),
    }
}

fn count(count: alternative::Count) -> Converted<Count> {
    let alternative::Count::Exactly(number) = count else { return Ok(Count::All) };
    let fits = u16::try_from(number).ok().filter(|number| (1..=Claim::MAX_COUNT).contains(number));
    let what = || ConvertError::here(format!("expected 1 to {}, got {number}", Claim::MAX_COUNT));
    fits.map(Count::Exactly).ok_or_else(what)
}

impl Wire for (DeviceConstraint, Strength) {
    type Message = v1::Constraint;

    fn to_wire(&self) -> v1::Constraint {
        v1::Constraint { constraint: self.0.to_wire(), strength: self.1.to_wire() }
    }

    fn from_wire(constraint: v1::Constraint) -> Converted<Self> {
        Ok((inside(constraint.constraint, "constraint")?, inside(constraint.strength, "strength")?))
    }
}
