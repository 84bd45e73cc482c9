//! The helpers that keep each conversion short.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::error::{At, ConvertError, Converted};
use super::{Wire, limits};

/// The message in a field that must be there.
pub(crate) fn required<T: Wire>(message: Option<T::Message>, field: &str) -> Converted<T> {
    message.ok_or_else(|| ConvertError::here("expected a value, got none")).and_then(T::from_wire).at(field)
}

/// The message in a field that may be absent.
pub(crate) fn optional<T: Wire>(message: Option<T::Message>, field: &str) -> Converted<Option<T>> {
    message.map(T::from_wire).transpose().at(field)
}

/// The value in a field that is always there.
pub(crate) fn inside<T: Wire>(message: T::Message, field: &str) -> Converted<T> {
    T::from_wire(message).at(field)
}

/// The messages in a repeated field, collected: at most `max`.
pub(crate) fn list<T: Wire, C: FromIterator<T>>(messages: Vec<T::Message>, field: &str, max: usize) -> Converted<C> {
    at_most(messages.len(), max).at(field)?;
    let items = messages.into_iter().enumerate();
    items.map(|(index, message)| T::from_wire(message).at_index(index).at(field)).collect()
}

/// `items` as a repeated field.
pub(crate) fn to_list<'a, T: Wire + 'a>(items: impl IntoIterator<Item = &'a T>) -> Vec<T::Message> {
    items.into_iter().map(T::to_wire).collect()
}

/// What is set in a `oneof`.
pub(crate) fn one_of<T>(kind: Option<T>) -> Converted<T> {
    kind.ok_or_else(|| ConvertError::here("expected one of its kinds to be set, got none that is known"))
}

/// Refuses with `message` if `good` does not hold.
pub(crate) fn expected(good: bool, message: impl FnOnce() -> String) -> Converted<()> {
    if good { Ok(()) } else { Err(ConvertError::here(message())) }
}

pub(crate) fn at_most(count: usize, max: usize) -> Converted<()> {
    expected(count <= max, || format!("expected at most {max}, got {count}"))
}

/// A text for people of at most [`limits::MAX_TEXT`] bytes.
pub(crate) fn text(text: &str, field: &str) -> Converted<Arc<str>> {
    let good = text.len() <= limits::MAX_TEXT;
    expected(good, || format!("expected at most {} bytes, got {}", limits::MAX_TEXT, text.len())).at(field)?;
    Ok(Arc::from(text))
}

/// The same in a field that may be absent.
pub(crate) fn optional_text(message: Option<String>, field: &str) -> Converted<Option<Arc<str>>> {
    message.map(|message| text(&message, field)).transpose()
}

/// A text for people that core made, cut at [`limits::MAX_TEXT`]: a refusal or a report is never lost for its prose.
pub(crate) fn to_prose(text: &str) -> String {
    text[..text.floor_char_boundary(limits::MAX_TEXT)].to_owned()
}

/// A duration in microseconds, cut at [`limits::MAX_DURATION`].
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.min(limits::MAX_DURATION).as_micros()).expect("ten years are few microseconds")
}

/// The duration of so many microseconds.
pub(crate) fn duration(us: u64, field: &str) -> Converted<Duration> {
    let duration = Duration::from_micros(us);
    let max = limits::MAX_DURATION;
    expected(duration <= max, || format!("expected at most {} microseconds, got {us}", max.as_micros())).at(field)?;
    Ok(duration)
}

/// The same in a field that may be absent.
pub(crate) fn optional_duration(us: Option<u64>, field: &str) -> Converted<Option<Duration>> {
    us.map(|us| duration(us, field)).transpose()
}

/// A number of 128 bits as 16 bytes, big-endian.
pub(crate) fn bytes_of(number: u128) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

/// The number that 16 bytes spell.
pub(crate) fn number_of(bytes: &[u8]) -> Converted<u128> {
    let array = <[u8; 16]>::try_from(bytes);
    array.map(u128::from_be_bytes).map_err(|_| ConvertError::here(format!("expected 16 bytes, got {}", bytes.len())))
}

/// The bytes, where an empty field means that there are none.
pub(crate) fn unless_empty(bytes: Bytes) -> Option<Bytes> {
    Some(bytes).filter(|bytes| !bytes.is_empty())
}

/// Implements [`Wire`] for an enum without data; the value 0 and unknown ones are refused.
macro_rules! wire_enum {
    ($core:ty, $wire:ty, { $($name:ident),* $(,)? }) => {
        impl crate::Wire for $core {
            type Message = i32;

            fn to_wire(&self) -> i32 {
                match self { $(Self::$name => <$wire>::$name as i32,)* }
            }

            fn from_wire(number: i32) -> Result<Self, crate::ConvertError> {
                match <$wire>::try_from(number) {
                    $(Ok(<$wire>::$name) => Ok(Self::$name),)*
                    _ => Err(crate::ConvertError::here(format!(
                        "expected one of {}, got {number}",
                        [$(<$wire>::$name.as_str_name(),)*].join(", ")
                    ))),
                }
            }
        }
    };
}
pub(crate) use wire_enum;
