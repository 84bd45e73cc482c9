//! The connection to the master: one that the agent dials, and dials again.

use std::sync::Arc;
use std::time::Duration;

use rialto_core::model::{ClusterId, FromAgent, Term, ToAgent};
use rialto_proto::hello::Hello;
use rialto_proto::v1::agents_client::AgentsClient;
use rialto_proto::{MAX_FRAME_BYTES, Wire, frames, status, v1};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::InterceptedService;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status, Streaming};

use crate::bulk;
use crate::shell::Event;
use crate::{AgentError, Options};

/// The most messages that wait to be sent; a connection that does not take them is given up.
const MAX_WAITING: usize = 16 * 1024;
/// The most messages in one frame.
const MAX_FRAME: usize = 512;
/// The pauses between attempts: short at first, so that a restarted master is found at once.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a master that has taken the connection may take to say hello.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// How often a quiet connection is probed, and how long the answer may take.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Names a connection, so that what an old one still says is not taken for the new one's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Epoch(u64);

/// What happens on the connection.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    Up(mpsc::Sender<FromAgent>),
    Down,
    Heard(Term, Vec<ToAgent>),
}

/// Makes clients of the master.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    endpoint: Endpoint,
    token: Token,
}

/// A client of the master.
pub(crate) type Client = AgentsClient<InterceptedService<Channel, Token>>;

/// Puts the token on each request.
#[derive(Clone, Debug)]
pub(crate) struct Token(Option<MetadataValue<Ascii>>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

impl Dialer {
    pub(crate) fn new(options: &Options) -> Result<Self, AgentError> {
        let bad = |message: String| AgentError::Address { address: options.master.clone(), message };
        let has_scheme = options.master.starts_with("http://") || options.master.starts_with("https://");
        let url = if has_scheme { options.master.clone() } else { format!("http://{}", options.master) };
        let mut endpoint = Endpoint::from_shared(url.clone()).map_err(|error| bad(error.to_string()))?;
        if endpoint.uri().host().is_none_or(str::is_empty) || endpoint.uri().port_u16().is_none() && !has_scheme {
            return Err(bad("host and port are needed".to_owned()));
        }
        if url.starts_with("https://") {
            let mut tls = ClientTlsConfig::new().with_enabled_roots();
            if let Some(pem) = &options.tls_ca {
                tls = tls.ca_certificate(Certificate::from_pem(pem));
            }
            endpoint = endpoint.tls_config(tls).map_err(|error| bad(error.to_string()))?;
        }
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        let header =
            |token: &String| MetadataValue::try_from(format!("Bearer {}", token.trim())).map_err(|_| AgentError::Token);
        let mut token = options.token.as_ref().map(header).transpose()?;
        if let Some(token) = &mut token {
            token.set_sensitive(true);
        }
        Ok(Self { endpoint, token: Token(token) })
    }

    /// A client on a connection of its own, which is made when it is first used.
    pub(crate) fn client(&self) -> Client {
        AgentsClient::with_interceptor(self.endpoint.connect_lazy(), self.token.clone())
            .max_decoding_message_size(MAX_FRAME_BYTES)
            .max_encoding_message_size(MAX_FRAME_BYTES)
    }
}

/// Keeps a connection for as long as it is polled.
pub(crate) struct Link {
    pub(crate) dialer: Dialer,
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) bulk: Arc<bulk::Files>,
}

/// How an attempt ended.
struct Ended {
    /// Whether the master had answered.
    connected: bool,
    why: String,
}

impl Link {
    pub(crate) async fn keep(self) {
        let mut epoch = Epoch::default();
        let mut pause = BACKOFF_FIRST;
        let mut silent = false;
        loop {
            epoch.0 += 1;
            let ended = self.connect(epoch).await;
            if ended.connected {
                pause = BACKOFF_FIRST;
                silent = false;
                let _stopped = self.events.send(Event::Link(epoch, LinkEvent::Down)).await;
            }
            // The first failure is worth a line, the hundredth is not.
            if !std::mem::replace(&mut silent, true) {
                tracing::warn!("no connection to the master: {}; trying again", ended.why);
            }
            tokio::time::sleep(jitter(pause)).await;
            pause = (pause * 2).min(BACKOFF_MAX);
        }
    }

    async fn connect(&self, epoch: Epoch) -> Ended {
        let failed = |why: String| Ended { connected: false, why };
        let (frames, outgoing) = mpsc::channel(8);
        let hello = v1::FromAgentFrame { hello: Some(Hello::client(self.cluster).to_wire()), messages: Vec::new() };
        frames.try_send(hello).expect("the channel is new and has room");
        let mut client = self.dialer.client();
        let mut incoming =
            match tokio::time::timeout(ANSWER_TIMEOUT, client.connect(ReceiverStream::new(outgoing))).await {
                Ok(Ok(response)) => response.into_inner(),
                Ok(Err(status)) => return failed(words(&status)),
                Err(_) => return failed(format!("no answer within {ANSWER_TIMEOUT:?}")),
            };
        let first = match tokio::time::timeout(ANSWER_TIMEOUT, incoming.message()).await {
            Ok(Ok(Some(frame))) => frame,
            Ok(Ok(None)) => return failed("the master has closed it".to_owned()),
            Ok(Err(status)) => return failed(words(&status)),
            Err(_) => return failed(format!("no hello within {ANSWER_TIMEOUT:?}")),
        };
        if let Err(error) = Hello::expect(first.hello.clone()) {
            return failed(error.to_string());
        }
        let (sender, messages) = mpsc::channel(MAX_WAITING);
        let _stopped = self.events.send(Event::Link(epoch, LinkEvent::Up(sender))).await;
        let why = tokio::select! {
            () = send(messages, &frames) => "the master did not take what the agent said".to_owned(),
            why = self.listen(epoch, first, incoming) => why,
        };
        Ended { connected: true, why }
    }

    /// Hears the master out, beginning with the first frame; says why it ended.
    async fn listen(&self, epoch: Epoch, first: v1::ToAgentFrame, mut incoming: Streaming<v1::ToAgentFrame>) -> String {
        let mut frame = first;
        loop {
            match frames::to_agent(frame) {
                Ok(frame) => self.take(epoch, frame).await,
                Err(error) => return format!("the master says what can't be understood: {error}"),
            }
            frame = match incoming.message().await {
                Ok(Some(frame)) => frame,
                Ok(None) => return "the master has closed it".to_owned(),
                Err(status) => return words(&status),
            };
        }
    }

    async fn take(&self, epoch: Epoch, frame: frames::ToAgentFrame) {
        for open in frame.open {
            self.bulk.clone().serve(&self.dialer, open);
        }
        if !frame.messages.is_empty() {
            let _stopped = self.events.send(Event::Link(epoch, LinkEvent::Heard(frame.term, frame.messages))).await;
        }
    }
}

/// Sends messages, as many in a frame as have gathered, until the agent or the master has had enough.
async fn send(mut messages: mpsc::Receiver<FromAgent>, frames: &mpsc::Sender<v1::FromAgentFrame>) {
    let mut gathered = Vec::new();
    while messages.recv_many(&mut gathered, MAX_FRAME).await > 0 {
        if frames.send(frames::from_agent_frame(&gathered)).await.is_err() {
            return;
        }
        gathered.clear();
    }
}

fn words(status: &Status) -> String {
    match status::reject_from_status(status) {
        Some(reject) => reject.to_string(),
        None => {
            let source = std::error::Error::source(status).map(|source| format!(" ({source})")).unwrap_or_default();
            format!("{}{source}", status.message())
        }
    }
}

/// Between half of `pause` and all of it, so that a thousand agents don't come back in one instant.
fn jitter(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + 0.5 * f64::from(crate::random_u32()) / f64::from(u32::MAX))
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
