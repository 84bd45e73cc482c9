//! Frames: several messages at once, so that a busy connection pays for framing once in a while and not for each message.

use rialto_core::model::{Call, Event, FromAgent, Term, ToAgent};

use crate::convert::{ConvertError, list, to_list};
use crate::{MAX_FRAME_MESSAGES, v1};

/// A frame of `calls`.
pub fn call_frame(calls: &[Call]) -> v1::CallFrame {
    v1::CallFrame { hello: None, calls: to_list(calls) }
}

/// The calls in a frame.
///
/// # Errors
///
/// The first field that holds what it must not.
pub fn calls(frame: v1::CallFrame) -> Result<Vec<Call>, ConvertError> {
    list(frame.calls, "calls", MAX_FRAME_MESSAGES)
}

/// A frame of `events` in `term`.
pub fn event_frame(term: Term, events: &[Event]) -> v1::EventFrame {
    v1::EventFrame { hello: None, term: term.0, events: to_list(events) }
}

/// The events in a frame, and the master's term.
///
/// # Errors
///
/// The first field that holds what it must not.
pub fn events(frame: v1::EventFrame) -> Result<(Term, Vec<Event>), ConvertError> {
    Ok((Term(frame.term), list(frame.events, "events", MAX_FRAME_MESSAGES)?))
}

/// A frame of `messages` of an agent.
pub fn from_agent_frame(messages: &[FromAgent]) -> v1::FromAgentFrame {
    v1::FromAgentFrame { hello: None, messages: to_list(messages) }
}

/// The messages in an agent's frame.
///
/// # Errors
///
/// The first field that holds what it must not.
pub fn from_agent(frame: v1::FromAgentFrame) -> Result<Vec<FromAgent>, ConvertError> {
    list(frame.messages, "messages", MAX_FRAME_MESSAGES)
}

/// A frame of `messages` to an agent in `term`.
pub fn to_agent_frame(term: Term, messages: &[ToAgent]) -> v1::ToAgentFrame {
    v1::ToAgentFrame { hello: None, term: term.0, messages: to_list(messages), open: Vec::new() }
}

/// What a frame to an agent holds.
pub struct ToAgentFrame {
    /// The master's term.
    pub term: Term,
    /// For the machine, in order.
    pub messages: Vec<ToAgent>,
    /// For the shell: bulk streams to dial.
    pub open: Vec<crate::logs::OpenBulk>,
}

/// The messages in a frame to an agent.
///
/// # Errors
///
/// The first field that holds what it must not.
pub fn to_agent(frame: v1::ToAgentFrame) -> Result<ToAgentFrame, ConvertError> {
    Ok(ToAgentFrame {
        term: Term(frame.term),
        messages: list(frame.messages, "messages", MAX_FRAME_MESSAGES)?,
        open: list(frame.open, "open", MAX_FRAME_MESSAGES)?,
    })
}
