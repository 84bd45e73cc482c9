//! Frames on the socket: one line of JSON each.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::protocol::{Command, Frame, MAX_FRAME_BYTES};

/// Why a stream of frames cannot be read on; the connection is to be closed.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// A line is longer than any frame.
    #[error("frame: expected at most {limit} bytes")]
    TooLong {
        /// The limit of this direction.
        limit: usize,
    },
    /// A line is not a frame of this version.
    #[error("frame: {0}")]
    Json(#[from] serde_json::Error),
}

/// Turns bytes from a supervisor into frames.
pub type FrameDecoder = Decoder<Frame>;

/// Collects bytes and gives back the messages that are complete; holds at most one message and what was pushed last.
#[derive(Debug)]
pub struct Decoder<T> {
    buffer: Vec<u8>,
    limit: usize,
    messages: PhantomData<T>,
}

impl Default for FrameDecoder {
    fn default() -> Self {
        Self::with_limit(MAX_FRAME_BYTES)
    }
}

impl<T: DeserializeOwned> Decoder<T> {
    pub(super) fn with_limit(limit: usize) -> Self {
        Self { buffer: Vec::new(), limit, messages: PhantomData }
    }

    /// Adds bytes as they came from the socket. Take every message with [`Self::next_message`] before the next push.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete message, if there is one.
    ///
    /// # Errors
    /// The peer speaks something else; nothing that follows can be trusted.
    pub fn next_message(&mut self) -> Result<Option<T>, DecodeError> {
        let end = self.buffer.iter().position(|&byte| byte == b'\n');
        if end.unwrap_or(self.buffer.len()) > self.limit {
            return Err(DecodeError::TooLong { limit: self.limit });
        }
        let Some(end) = end else { return Ok(None) };
        let message = serde_json::from_slice(&self.buffer[..end])?;
        self.buffer.drain(..=end);
        Ok(Some(message))
    }
}

/// The bytes of a command, ready to be written to the socket.
#[must_use]
pub fn encode_command(command: &Command) -> Vec<u8> {
    encode(command)
}

pub(super) fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).expect("protocol types have string keys and no failing serializer");
    line.push(b'\n');
    line
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
