//! Core types ⇄ wire types. One implementation of [`Wire`] for each type; what a message holds is converted by its own implementation,
//! and the helpers in `fields` name the field when one fails.

use std::sync::Arc;

mod agent;
mod answers;
mod attributes;
mod claims;
mod devices;
mod error;
mod explain;
mod fields;
mod ids;
mod operations;
mod operator;
mod prices;
mod quota;
mod reject;
mod resources;
mod rules;
mod scheduler;
mod subscription;
mod tasks;
mod words;

pub mod limits;

pub(crate) use agent::kill_reason;
pub(crate) use attributes::{attributes, labels, to_attributes, to_labels};
pub use error::ConvertError;
pub(crate) use error::{At, Converted};
pub(crate) use fields::{
    bytes_of, duration, expected, inside, list, micros, number_of, one_of, optional, optional_duration, optional_text,
    required, text, to_list, to_prose, unless_empty, wire_enum,
};
pub(crate) use prices::price;

/// A core type that has a form on the wire.
pub trait Wire: Sized {
    /// That form.
    type Message;

    /// How this looks on the wire.
    fn to_wire(&self) -> Self::Message;

    /// Checks `message` and takes what it says.
    ///
    /// # Errors
    ///
    /// The field that holds what it must not, as a path from `message`.
    fn from_wire(message: Self::Message) -> Result<Self, ConvertError>;
}

/// Much is shared by reference in core.
impl<T: Wire> Wire for Arc<T> {
    type Message = T::Message;

    fn to_wire(&self) -> T::Message {
        self.as_ref().to_wire()
    }

    fn from_wire(message: T::Message) -> Result<Self, ConvertError> {
        T::from_wire(message).map(Self::new)
    }
}

/// Checks a value that came in through another API as if it had come over the wire, so that it fits the registry and the journal: what is
/// written there must be readable again.
///
/// # Errors
///
/// The field that holds what it must not.
pub fn checked<T: Wire>(value: &T) -> Result<T, ConvertError> {
    T::from_wire(value.to_wire())
}
