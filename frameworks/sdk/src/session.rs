//! Talking to a task: a shell inside of it, or its own terminal.

use rialto_proto::session::{self, OpenSession};
use rialto_proto::v1::session_end::How;
use rialto_proto::v1::session_output::Output;
use rialto_proto::v1::session_request::Message;
use rialto_proto::{Wire, v1};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Streaming};

use crate::operator::{ClientError, MasterClient, refused};

pub use rialto_proto::v1::session_input::Input as SessionInput;

/// What comes from a task in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The session is open; comes first.
    Opened {
        /// What is sent is read.
        input: bool,
        /// It is a terminal.
        terminal: bool,
    },
    /// Written to standard output, or to the terminal.
    Stdout(bytes::Bytes),
    /// Written to standard error.
    Stderr(bytes::Bytes),
    /// The process has ended; comes last.
    Ended(SessionEnd),
}

/// How a session has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// The process, by itself, with this status.
    Code(u8),
    /// The process, by this signal.
    Signal(u32),
    /// The process was not started, for this reason.
    NotStarted(String),
    /// The task has ended, and the session with it.
    Task,
}

/// An open session. Dropping it ends what was started for it.
#[derive(Debug)]
pub struct Session {
    outputs: Streaming<v1::SessionOutput>,
}

impl Session {
    /// What comes next; `None` once everything has come.
    ///
    /// # Errors
    /// The master or the agent can't serve it any more.
    pub async fn next(&mut self) -> Result<Option<Said>, ClientError> {
        let Some(output) = self.outputs.message().await.map_err(|status| refused(&status))? else { return Ok(None) };
        let garbled = || ClientError::Garbled("expected an output of a session".to_owned());
        Ok(Some(match output.output.ok_or_else(garbled)? {
            Output::Opened(v1::SessionOpened { input, terminal }) => Said::Opened { input, terminal },
            Output::Stdout(data) => Said::Stdout(data),
            Output::Stderr(data) => Said::Stderr(data),
            Output::Ended(end) => Said::Ended(match end.how.ok_or_else(garbled)? {
                How::Code(code) => SessionEnd::Code(u8::try_from(code).unwrap_or(u8::MAX)),
                How::Signal(signal) => SessionEnd::Signal(signal),
                How::NotStarted(why) => SessionEnd::NotStarted(why),
                How::TaskEnded(_) => SessionEnd::Task,
            }),
        }))
    }
}

impl MasterClient {
    /// Opens a session with a task; what comes through `input` goes to it.
    ///
    /// # Errors
    /// There is no such task, or its agent can't be reached.
    pub async fn session(
        &self,
        open: &OpenSession,
        input: mpsc::Receiver<SessionInput>,
    ) -> Result<Session, ClientError> {
        let request = |message| v1::SessionRequest { message: Some(message) };
        let first = tokio_stream::once(request(Message::Open(open.to_wire())));
        let rest = ReceiverStream::new(input).map(move |input| request(Message::Input(session::input(input))));
        let mut asked = Request::new(first.chain(rest));
        self.access.sign(asked.metadata_mut());
        let outputs = self.operator.clone().session(asked).await.map_err(|status| refused(&status))?;
        Ok(Session { outputs: outputs.into_inner() })
    }
}
