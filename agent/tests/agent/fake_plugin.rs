//! A plug-in whose every answer the test decides.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use rialto_core::model::{Device, DeviceId, DeviceMode, Health, Proof, Quantities, Topology};
use rialto_proto::Wire;
use rialto_proto::device::device_plugin_server::{DevicePlugin, DevicePluginServer};
use rialto_proto::device::{
    DeviceList, DeviceStats, DiscoverRequest, PrepareRequest, Prepared, ReleaseRequest, Released, SelfTestRequest,
    SelfTestResult, StatsList, StatsRequest,
};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_stream::wrappers::{UnixListenerStream, WatchStream};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

/// What goes wrong at the next call of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It answers with an error.
    Refuse,
    /// It never answers.
    Hang,
    /// It answers what no agent can use.
    Nonsense,
}

/// What was asked, and what is to go wrong.
#[derive(Debug, Default)]
struct Script {
    calls: Vec<String>,
    prepare: VecDeque<Fault>,
    release: VecDeque<Fault>,
    self_test: VecDeque<Fault>,
    stats: VecDeque<Fault>,
}

/// A plug-in that serves as long as this lives.
pub(crate) struct FakePlugin {
    folder: tempfile::TempDir,
    script: Arc<Mutex<Script>>,
    devices: watch::Sender<Vec<Device>>,
    server: Option<AbortHandle>,
}

impl FakePlugin {
    pub(crate) fn new(ids: &[&str]) -> Self {
        let mut plugin = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            script: Arc::default(),
            devices: watch::Sender::new(ids.iter().map(|id| device(id)).collect()),
            server: None,
        };
        plugin.start();
        plugin
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("sock")
    }

    pub(crate) fn start(&mut self) {
        let _none = std::fs::remove_file(self.socket());
        let listener = UnixListener::bind(self.socket()).expect("the path is short");
        let service = Service { script: self.script.clone(), devices: self.devices.clone() };
        let server = tonic::transport::Server::builder().add_service(DevicePluginServer::new(service));
        let served = tokio::spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
        self.server = Some(served.abort_handle());
    }

    /// It dies, with all its connections.
    pub(crate) fn stop(&mut self) {
        self.server.take().expect("it runs").abort();
        std::fs::remove_file(self.socket()).expect("it was made");
    }

    /// It says that these are its devices now.
    pub(crate) fn says(&self, devices: Vec<Device>) {
        self.devices.send_replace(devices);
    }

    pub(crate) fn at_prepare(&self, fault: Fault) {
        self.script.lock().expect("no test has panicked").prepare.push_back(fault);
    }

    pub(crate) fn at_release(&self, fault: Fault) {
        self.script.lock().expect("no test has panicked").release.push_back(fault);
    }

    pub(crate) fn at_self_test(&self, fault: Fault) {
        self.script.lock().expect("no test has panicked").self_test.push_back(fault);
    }

    pub(crate) fn at_stats(&self, fault: Fault) {
        self.script.lock().expect("no test has panicked").stats.push_back(fault);
    }

    /// What was asked for the sake of tasks, in order.
    pub(crate) fn calls(&self) -> Vec<String> {
        let calls = self.script.lock().expect("no test has panicked").calls.clone();
        calls.into_iter().filter(|call| call != "stats").collect()
    }

    /// How often it was asked how much its devices do.
    pub(crate) fn stats_calls(&self) -> usize {
        let script = self.script.lock().expect("no test has panicked");
        script.calls.iter().filter(|call| *call == "stats").count()
    }
}

impl Drop for FakePlugin {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
        }
    }
}

pub(crate) fn device(id: &str) -> Device {
    Device {
        id: DeviceId::new(id),
        kind: "dongle".into(),
        vendor: "test".into(),
        model: "".into(),
        generation: 0,
        attributes: std::collections::BTreeMap::new(),
        topology: Topology::default(),
        mode: DeviceMode::Exclusive,
        health: Health::Healthy,
        nodes: Vec::new(),
        proof: Proof::TreeGone,
        host_share: Quantities::new(),
    }
}

struct Service {
    script: Arc<Mutex<Script>>,
    devices: watch::Sender<Vec<Device>>,
}

impl Service {
    /// Notes a call, and does what is to go wrong with it.
    async fn call(&self, words: String, faults: impl Fn(&mut Script) -> &mut VecDeque<Fault>) -> Result<bool, Status> {
        let fault = {
            let mut script = self.script.lock().expect("no test has panicked");
            script.calls.push(words);
            faults(&mut script).pop_front()
        };
        match fault {
            None => Ok(true),
            Some(Fault::Nonsense) => Ok(false),
            Some(Fault::Refuse) => Err(Status::internal("it is stuck")),
            Some(Fault::Hang) => std::future::pending().await,
        }
    }
}

#[tonic::async_trait]
impl DevicePlugin for Service {
    type DiscoverStream = Pin<Box<dyn Stream<Item = Result<DeviceList, Status>> + Send>>;

    async fn discover(&self, request: Request<DiscoverRequest>) -> Result<Response<Self::DiscoverStream>, Status> {
        assert_eq!(request.into_inner().version, 1);
        let lists = WatchStream::new(self.devices.subscribe());
        let lists = lists.map(|devices| Ok(DeviceList { devices: devices.iter().map(Wire::to_wire).collect() }));
        Ok(Response::new(Box::pin(lists)))
    }

    async fn prepare(&self, request: Request<PrepareRequest>) -> Result<Response<Prepared>, Status> {
        let PrepareRequest { task, devices } = request.into_inner();
        let good = self.call(format!("prepare {task} {}", devices.join(",")), |script| &mut script.prepare).await?;
        let variable =
            |name: &str, value: &str| rialto_proto::device::EnvVar { name: name.into(), value: value.into() };
        let env = if good { variable("DONGLE", &devices.join(",")) } else { variable("A=B", "") };
        Ok(Response::new(Prepared { env: vec![env], ..Prepared::default() }))
    }

    async fn release(&self, request: Request<ReleaseRequest>) -> Result<Response<Released>, Status> {
        let ReleaseRequest { device, generation } = request.into_inner();
        self.call(format!("release {device} {generation}"), |script| &mut script.release).await?;
        Ok(Response::new(Released {}))
    }

    async fn self_test(&self, request: Request<SelfTestRequest>) -> Result<Response<SelfTestResult>, Status> {
        let device = request.into_inner().device;
        let good = self.call(format!("test {device}"), |script| &mut script.self_test).await?;
        let problem = if good { String::new() } else { "it smells".to_owned() };
        Ok(Response::new(SelfTestResult { problem }))
    }

    async fn stats(&self, _request: Request<StatsRequest>) -> Result<Response<StatsList>, Status> {
        let good = self.call("stats".to_owned(), |script| &mut script.stats).await?;
        let value = if good { 42.0 } else { f64::NAN };
        let figures = |device: &Device| DeviceStats {
            device: device.id.to_string(),
            figures: std::collections::BTreeMap::from([("busy_percent".to_owned(), value)]),
        };
        let devices = self.devices.borrow().iter().map(figures).collect();
        Ok(Response::new(StatsList { devices }))
    }
}

/// The source that an agent is given.
pub(crate) fn source(socket: &Path) -> String {
    format!("plugin:{}", socket.display())
}
