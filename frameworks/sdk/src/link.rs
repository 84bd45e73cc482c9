//! The connection to the master: dialled again whenever it is lost, with back-off.

use std::time::Duration;

use prost::Message;
use rialto_core::model::{Call, ClusterId, Event};
use rialto_proto::hello::Hello;
use rialto_proto::status::reject_from_status;
use rialto_proto::v1::scheduler_client::SchedulerClient;
use rialto_proto::{MAX_FRAME_BYTES, MAX_FRAME_MESSAGES, Wire, v1};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::access::{Access, AccessError};

/// How long to wait before the next try, at first and at most.
const RETRY: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// How many calls may wait to be sent. A master that takes them this slowly is as good as gone.
const CALLS_MAX: usize = 65_536;
/// How many frames may wait in gRPC.
const FRAMES_MAX: usize = 8;
/// From which size on a frame takes no further call.
const FRAME_BYTES: usize = 1 << 20;
/// How many events may wait for the policy; then the connection's flow control holds the master back.
const EVENTS_MAX: usize = 256;

/// What the connection says.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// It is there; calls go in here. Dropping the sender ends the connection once all is sent.
    Up(mpsc::Sender<Call>),
    /// The master says these.
    Heard(Vec<Event>),
    /// It is lost. Another try follows by itself.
    Down(String),
    /// The master does not let anybody in like that; there is no other try.
    Denied(String),
}

/// Starts dialling; ends when the receiver is dropped.
pub(crate) fn dial(access: Access, cluster: Option<ClusterId>) -> Result<mpsc::Receiver<LinkEvent>, AccessError> {
    let endpoint = access.endpoint()?;
    let (events, receiver) = mpsc::channel(EVENTS_MAX);
    let dialer = Dialer { access, endpoint, cluster, events, subscribed: false };
    tokio::spawn(dialer.run());
    Ok(receiver)
}

struct Dialer {
    access: Access,
    endpoint: Endpoint,
    cluster: Option<ClusterId>,
    events: mpsc::Sender<LinkEvent>,
    /// Whether the present connection got as far as a subscription.
    subscribed: bool,
}

/// Why a connection ended.
enum Lost {
    /// Nobody listens any more.
    Abandoned,
    Because(String),
    Denied(String),
}

impl Dialer {
    async fn run(mut self) {
        let mut delay = RETRY;
        loop {
            self.subscribed = false;
            let reason = match self.session().await {
                Lost::Abandoned => return,
                Lost::Because(reason) => reason,
                Lost::Denied(reason) => {
                    // A runner that is gone needs not be told.
                    drop(self.events.send(LinkEvent::Denied(reason)).await);
                    return;
                }
            };
            if self.tell(LinkEvent::Down(reason)).await.is_err() {
                return;
            }
            delay = if self.subscribed { RETRY } else { delay };
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.events.closed() => return,
            }
            delay = (delay * 2).min(RETRY_MAX);
        }
    }

    async fn tell(&self, event: LinkEvent) -> Result<(), Lost> {
        self.events.send(event).await.map_err(|_| Lost::Abandoned)
    }

    async fn session(&mut self) -> Lost {
        let channel = tokio::select! {
            channel = self.endpoint.connect() => channel,
            () = self.events.closed() => return Lost::Abandoned,
        };
        let address = self.access.address();
        match channel {
            Ok(channel) => {
                self.converse(channel).await.err().unwrap_or_else(|| Lost::Because("the master ended it".to_owned()))
            }
            Err(error) => Lost::Because(format!("can't connect to {address}: {}", deepest(&error))),
        }
    }

    async fn converse(&mut self, channel: Channel) -> Result<(), Lost> {
        let (calls, receiver) = mpsc::channel(CALLS_MAX);
        let (frames, outgoing) = mpsc::channel(FRAMES_MAX);
        tokio::spawn(pump(Hello::client(self.cluster).to_wire(), receiver, frames));
        // The master's first words may wait for ours, so the runner speaks before anything was heard.
        self.tell(LinkEvent::Up(calls)).await?;
        let mut request = Request::new(ReceiverStream::new(outgoing));
        self.access.sign(request.metadata_mut());
        let mut client = SchedulerClient::new(channel).max_decoding_message_size(MAX_FRAME_BYTES);
        let mut incoming = match client.connect(request).await {
            Ok(response) => response.into_inner(),
            Err(status) => return Err(self.refused(&status).await),
        };
        let mut greeted = false;
        loop {
            let frame = tokio::select! {
                frame = incoming.message() => frame,
                () = self.events.closed() => return Err(Lost::Abandoned),
            };
            match frame {
                Ok(Some(frame)) => self.heard(frame, &mut greeted).await?,
                Ok(None) => return Ok(()),
                Err(status) => return Err(self.refused(&status).await),
            }
        }
    }

    async fn heard(&mut self, frame: v1::EventFrame, greeted: &mut bool) -> Result<(), Lost> {
        let garbled =
            |error: rialto_proto::ConvertError| Lost::Because(format!("the master is not understood: {error}"));
        if !*greeted {
            Hello::expect(frame.hello).map_err(garbled)?;
            *greeted = true;
        }
        let events: Result<Vec<Event>, _> = frame.events.into_iter().map(Event::from_wire).collect();
        let events = events.map_err(garbled)?;
        for event in &events {
            if let Event::Subscribed { cluster, .. } = event {
                self.subscribed = true;
                self.cluster = Some(*cluster);
            }
        }
        if events.is_empty() { Ok(()) } else { self.tell(LinkEvent::Heard(events)).await }
    }

    /// The connection ended with a status; a refusal in it is the driver's to judge.
    async fn refused(&self, status: &Status) -> Lost {
        if let Some(reject) = reject_from_status(status) {
            let reason = reject.to_string();
            return match self.tell(LinkEvent::Heard(vec![Event::Error(reject)])).await {
                Ok(()) => Lost::Because(reason),
                Err(lost) => lost,
            };
        }
        let text = format!("{}: {}", status.code(), status.message());
        match status.code() {
            Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented => Lost::Denied(text),
            _ => Lost::Because(text),
        }
    }
}

/// Makes frames out of the calls that are ready, until there can be no more.
async fn pump(hello: v1::Hello, mut calls: mpsc::Receiver<Call>, frames: mpsc::Sender<v1::CallFrame>) {
    let first = v1::CallFrame { hello: Some(hello), calls: Vec::new() };
    if frames.send(first).await.is_err() {
        return;
    }
    while let Some(call) = calls.recv().await {
        let mut frame = v1::CallFrame { hello: None, calls: vec![call.to_wire()] };
        let mut bytes = frame.encoded_len();
        while bytes < FRAME_BYTES
            && frame.calls.len() < MAX_FRAME_MESSAGES
            && let Ok(call) = calls.try_recv()
        {
            let call = call.to_wire();
            bytes += call.encoded_len();
            frame.calls.push(call);
        }
        if frames.send(frame).await.is_err() {
            return;
        }
    }
}

/// The innermost cause, which is the one that people can do something about.
pub(crate) fn deepest(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
