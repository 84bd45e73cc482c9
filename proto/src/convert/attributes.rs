use std::collections::BTreeMap;
use std::sync::Arc;

use rialto_core::model::Attribute;

use super::error::At;
use super::fields::at_most;
use super::{Converted, Wire, expected, limits, one_of, text};
use crate::v1;
use crate::v1::attribute::Value;

impl Wire for Attribute {
    type Message = v1::Attribute;

    fn to_wire(&self) -> v1::Attribute {
        let value = match self {
            Self::Int(number) => Value::Int(*number),
            Self::Text(text) => Value::Text(text.as_ref().to_owned()),
            Self::Bool(yes) => Value::Bool(*yes),
            Self::Version(parts) => Value::Version(v1::Version { parts: parts.clone() }),
            Self::Quantity(amount) => Value::Quantity(*amount),
        };
        v1::Attribute { value: Some(value) }
    }

    fn from_wire(attribute: v1::Attribute) -> Converted<Self> {
        Ok(match one_of(attribute.value)? {
            Value::Int(number) => Self::Int(number),
            Value::Text(value) => Self::Text(text(&value, "text")?),
            Value::Bool(yes) => Self::Bool(yes),
            Value::Version(version) => Self::Version(version_parts(version).at("version.parts")?),
            Value::Quantity(amount) => Self::Quantity(amount),
        })
    }
}

fn version_parts(version: v1::Version) -> Converted<Vec<u32>> {
    let good = (1..=limits::MAX_VERSION_PARTS).contains(&version.parts.len());
    expected(good, || format!("expected 1 to {} parts, got {}", limits::MAX_VERSION_PARTS, version.parts.len()))?;
    Ok(version.parts)
}

type Attributes = BTreeMap<Arc<str>, Attribute>;

/// Attributes by name as a map field.
pub(crate) fn to_attributes(attributes: &Attributes) -> BTreeMap<String, v1::Attribute> {
    attributes.iter().map(|(name, value)| (name.as_ref().to_owned(), value.to_wire())).collect()
}

/// The attributes in a map field.
pub(crate) fn attributes(entries: BTreeMap<String, v1::Attribute>, field: &str) -> Converted<Attributes> {
    at_most(entries.len(), limits::MAX_ATTRIBUTES).at(field)?;
    let convert = |(name, value): (String, v1::Attribute)| {
        expected((1..=limits::MAX_NAME).contains(&name.len()), || {
            format!("expected attribute names of 1 to {} bytes, got {name:?}", limits::MAX_NAME)
        })
        .at(field)?;
        let value = Attribute::from_wire(value).at(&format!("[{name:?}]")).at(field)?;
        Ok((Arc::from(name), value))
    };
    entries.into_iter().map(convert).collect()
}

type Labels = BTreeMap<Arc<str>, Arc<str>>;

/// Labels as a map field.
pub(crate) fn to_labels(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(key, value)| (key.as_ref().to_owned(), value.as_ref().to_owned())).collect()
}

/// The labels in a map field.
pub(crate) fn labels(entries: BTreeMap<String, String>, field: &str) -> Converted<Labels> {
    at_most(entries.len(), limits::MAX_LABELS).at(field)?;
    let convert = |(key, value): (String, String)| {
        expected((1..=limits::MAX_LABEL_KEY).contains(&key.len()), || {
            format!("expected keys of 1 to {} bytes, got {key:?}", limits::MAX_LABEL_KEY)
        })?;
        let value = text(&value, &format!("[{key:?}]"))?;
        Ok((Arc::from(key), value))
    };
    entries.into_iter().map(convert).collect::<Converted<_>>().at(field)
}
