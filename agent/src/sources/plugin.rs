//! Devices that a plug-in knows: a process of its own, asked over gRPC on a Unix socket.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rialto_core::model::{Device, DeviceId, TaskKey};
use rialto_proto::device::device_plugin_client::DevicePluginClient;
use rialto_proto::device::{
    DeviceList, DiscoverRequest, PrepareRequest, ReleaseRequest, SelfTestRequest, StatsList, StatsRequest,
};
use rialto_proto::{Wire, device};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint, Uri};

use super::Added;
use crate::supervisor::edits::{Mount, Node};

/// The version of the protocol.
const VERSION: u32 = 1;
/// The most devices of a plug-in.
const MAX_DEVICES: usize = 4096;
/// The most that is taken of what a plug-in adds to a task.
const MAX_ADDED: usize = 1024;
/// How long a plug-in may take to get devices ready, or to answer a question.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may take to clean a device.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(120);
/// How long it may take to say how much its devices do.
const STATS_TIMEOUT: Duration = Duration::from_secs(5);
/// Between attempts to reach a plug-in that is away.
const RECONNECT: Duration = Duration::from_millis(500);
/// How long a plug-in may be away before its devices are taken for gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// A plug-in, reached or not.
#[derive(Clone, Debug)]
pub(crate) struct Plugin {
    name: Arc<str>,
    client: DevicePluginClient<Channel>,
}

/// What a plug-in could not do.
#[derive(Debug, thiserror::Error)]
#[error("plug-in {plugin}: {what}: {why}")]
pub(crate) struct PluginError {
    plugin: Arc<str>,
    what: &'static str,
    why: String,
}

/// A path of a socket.
pub(super) fn parse(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text.trim());
    if path.is_absolute() { Ok(path) } else { Err(format!("expected the absolute path of a socket, got {text:?}")) }
}

impl Plugin {
    /// The plug-in that serves, or will serve, on this socket.
    pub(crate) fn new(socket: PathBuf) -> Self {
        let name: Arc<str> = socket.display().to_string().into();
        let connect = tower::service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        // The address is not used: every connection leads to the socket.
        let channel = Endpoint::from_static("http://plugin").connect_with_connector_lazy(connect);
        Self { name, client: DevicePluginClient::new(channel) }
    }

    /// The path of its socket.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Tells `lists` what the plug-in has, each time that it says so, and that it has nothing once it has been away for too long.
    pub(crate) async fn discover(self, lists: mpsc::Sender<Vec<Device>>) {
        let mut told = Told::Nothing;
        let mut away_since = tokio::time::Instant::now();
        loop {
            match self.listen(&lists).await {
                Ok(()) => return,
                Err(Listening::Never(why)) => {
                    if told == Told::Nothing {
                        tracing::warn!("plug-in {}: can't be reached: {why}; trying again", self.name);
                        told = Told::Away;
                    }
                }
                Err(Listening::Until(why)) => {
                    tracing::warn!("plug-in {}: has gone: {why}; trying again", self.name);
                    away_since = tokio::time::Instant::now();
                    told = Told::Away;
                }
            }
            if told == Told::Away && away_since.elapsed() > PATIENCE {
                told = Told::Gone;
                if lists.send(Vec::new()).await.is_err() {
                    return;
                }
            }
            tokio::time::sleep(RECONNECT).await;
        }
    }

    /// Takes lists until the stream ends; done when nobody listens any more.
    async fn listen(&self, lists: &mpsc::Sender<Vec<Device>>) -> Result<(), Listening> {
        let words = |status: tonic::Status| status.message().to_owned();
        let mut client = self.client.clone();
        let asked = tokio::time::timeout(ANSWER_TIMEOUT, client.discover(DiscoverRequest { version: VERSION })).await;
        let asked = asked.map_err(|_| Listening::Never("no answer".to_owned()))?;
        let mut stream = asked.map_err(|status| Listening::Never(words(status)))?.into_inner();
        loop {
            let list = stream.message().await.map_err(|status| Listening::Until(words(status)))?;
            let Some(list) = list else { return Err(Listening::Until("it has ended its list".to_owned())) };
            match devices(list) {
                Ok(devices) => {
                    if lists.send(devices).await.is_err() {
                        return Ok(());
                    }
                }
                Err(why) => tracing::error!("plug-in {}: a list that can't be used: {why}", self.name),
            }
        }
    }

    /// Gets devices ready for a task; what the task needs beside them.
    pub(crate) async fn prepare(&self, task: &TaskKey, devices: &[DeviceId]) -> Result<Added, PluginError> {
        let devices = devices.iter().map(ToString::to_string).collect();
        let request = request(PrepareRequest { task: task.to_string(), devices }, ANSWER_TIMEOUT);
        let mut client = self.client.clone();
        let prepared = bounded(ANSWER_TIMEOUT, client.prepare(request)).await;
        prepared.and_then(added).map_err(|why| self.error("can't get a device ready", &why))
    }

    /// Cleans a device, and tests that it is in order.
    pub(crate) async fn release(&self, device: &DeviceId, generation: u64) -> Result<(), PluginError> {
        let mut client = self.client.clone();
        let asked = request(ReleaseRequest { device: device.to_string(), generation }, RELEASE_TIMEOUT);
        let released = bounded(RELEASE_TIMEOUT, client.release(asked)).await;
        released.map_err(|why| self.error("can't clean the device", &why))?;
        let asked = request(SelfTestRequest { device: device.to_string() }, ANSWER_TIMEOUT);
        let tested = bounded(ANSWER_TIMEOUT, client.self_test(asked)).await;
        let tested = tested.map_err(|why| self.error("can't test the device", &why))?;
        if tested.problem.is_empty() { Ok(()) } else { Err(self.error("the device is not in order", &tested.problem)) }
    }

    /// How much its devices do. A plug-in that does not answer in time has no figures.
    pub(super) async fn stats(&self) -> Result<StatsList, tonic::Status> {
        let mut client = self.client.clone();
        let asked = client.stats(request(StatsRequest {}, STATS_TIMEOUT));
        let answer = tokio::time::timeout(STATS_TIMEOUT, asked).await;
        let late = || tonic::Status::deadline_exceeded(format!("no answer within {} seconds", STATS_TIMEOUT.as_secs()));
        answer.map_err(|_| late())?.map(tonic::Response::into_inner)
    }

    fn error(&self, what: &'static str, why: &str) -> PluginError {
        PluginError { plugin: self.name.clone(), what, why: why.chars().take(500).collect() }
    }
}

/// What was said of a plug-in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Away,
    Gone,
}

/// How listening ended.
enum Listening {
    /// It never began.
    Never(String),
    /// There was a list, or at least a stream.
    Until(String),
}

fn request<T>(message: T, timeout: Duration) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(timeout);
    request
}

/// The answer, if it comes in time: a plug-in that hangs hangs nothing else.
async fn bounded<T>(
    timeout: Duration,
    answer: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, String> {
    match tokio::time::timeout(timeout + Duration::from_secs(1), answer).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(format!("{} ({:?})", status.message(), status.code())),
        Err(_) => Err(format!("no answer within {} seconds", timeout.as_secs())),
    }
}

fn devices(list: DeviceList) -> Result<Vec<Device>, String> {
    let count = list.devices.len();
    if count > MAX_DEVICES {
        return Err(format!("devices: expected at most {MAX_DEVICES}, got {count}"));
    }
    let mut devices: Vec<Device> = Vec::new();
    for (index, device) in list.devices.into_iter().enumerate() {
        let device = Device::from_wire(device).map_err(|error| format!("devices[{index}].{error}"))?;
        if devices.iter().any(|other| other.id == device.id) {
            return Err(format!("devices[{index}].id: expected one of its own, got {} again", device.id));
        }
        devices.push(device);
    }
    Ok(devices)
}

fn added(prepared: device::Prepared) -> Result<Added, String> {
    if prepared.env.len() + prepared.nodes.len() + prepared.mounts.len() > MAX_ADDED {
        return Err(format!("expected at most {MAX_ADDED} variables, nodes and mounts"));
    }
    let mut added = Added::default();
    for variable in prepared.env {
        let good = !variable.name.is_empty() && !variable.name.contains(['=', '\0']) && !variable.value.contains('\0');
        if !good {
            return Err(format!("env: expected a name and a value, got {:?}", variable.name));
        }
        added.env.push((variable.name, variable.value));
    }
    for node in prepared.nodes {
        let path = absolute("nodes", &node.path)?;
        let from = if node.host_path.is_empty() { path.clone() } else { absolute("nodes", &node.host_path)? };
        added.edits.nodes.push(Node { path, from });
    }
    for mount in prepared.mounts {
        let (from, to) = (absolute("mounts", &mount.host_path)?, absolute("mounts", &mount.path)?);
        added.edits.mounts.push(Mount { from, to, writable: mount.writable });
    }
    Ok(added)
}

fn absolute(field: &str, path: &str) -> Result<PathBuf, String> {
    let good = path.starts_with('/') && !path.split('/').any(|part| part == "..") && !path.contains('\0');
    if good {
        Ok(PathBuf::from(path))
    } else {
        Err(format!("{field}: expected an absolute path without '..', got {path:?}"))
    }
}
