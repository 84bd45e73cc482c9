//! A plug-in that gives out licences: each file of a folder is one, and whoever holds it sees it at the path that `LICENCE` names.
//!
//! ```text
//! cargo run -p rialto-agent --example device-plugin -- /run/licences.sock /etc/licences /var/lib/licence
//! rialto agent --device-source plugin:/run/licences.sock …
//! rialto run --device licence -- sh -c 'cat $LICENCE'
//! ```
//!
//! The third argument is a file at which the holder sees its licence; it is made. docs/devices.md has the protocol.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use rialto_proto::device::device_plugin_server::{DevicePlugin, DevicePluginServer};
use rialto_proto::device::{
    DeviceList, DeviceStats, DiscoverRequest, EnvVar, Mount, PrepareRequest, Prepared, ReleaseRequest, Released,
    SelfTestRequest, SelfTestResult, StatsList, StatsRequest,
};
use rialto_proto::v1;
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status};

/// Between looks at the folder.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(socket), Some(folder), Some(seen_at)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("expected: device-plugin SOCKET FOLDER FILE".into());
    };
    std::fs::OpenOptions::new().create(true).append(true).open(&seen_at)?;
    if socket.exists() {
        std::fs::remove_file(&socket)?;
    }
    let listener = UnixListener::bind(&socket)?;
    let service = DevicePluginServer::new(Licences { folder, seen_at });
    tonic::transport::Server::builder()
        .add_service(service)
        .serve_with_incoming(UnixListenerStream::new(listener))
        .await?;
    Ok(())
}

/// The files of a folder.
#[derive(Clone, Debug)]
struct Licences {
    folder: PathBuf,
    seen_at: PathBuf,
}

impl Licences {
    fn ids(&self) -> std::io::Result<Vec<String>> {
        let mut ids = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                ids.extend(entry.file_name().into_string().ok());
            }
        }
        ids.sort();
        Ok(ids)
    }

    /// The file of a device: one that is in the folder, whatever the agent asks for.
    fn file(&self, id: &str) -> Result<PathBuf, Status> {
        let known = self.ids().map_err(|error| Status::internal(error.to_string()))?;
        if known.iter().any(|known| known == id) {
            Ok(self.folder.join(id))
        } else {
            Err(Status::not_found(id.to_owned()))
        }
    }
}

fn device(id: &str) -> v1::Device {
    v1::Device {
        id: id.to_owned(),
        kind: "licence".to_owned(),
        health: v1::Health::Healthy.into(),
        proof: v1::Proof::TreeGone.into(),
        ..v1::Device::default()
    }
}

#[tonic::async_trait]
impl DevicePlugin for Licences {
    type DiscoverStream = Pin<Box<dyn Stream<Item = Result<DeviceList, Status>> + Send>>;

    async fn discover(&self, _request: Request<DiscoverRequest>) -> Result<Response<Self::DiscoverStream>, Status> {
        let (lists, stream) = mpsc::channel(1);
        let licences = self.clone();
        tokio::spawn(async move {
            let mut told = None;
            while !lists.is_closed() {
                let found = licences.ids().map_err(|error| Status::unavailable(error.to_string()));
                if let Ok(ids) = &found
                    && told.as_ref() != Some(ids)
                {
                    told = Some(ids.clone());
                    let devices = ids.iter().map(|id| device(id)).collect();
                    let _gone = lists.send(Ok(DeviceList { devices })).await;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn prepare(&self, request: Request<PrepareRequest>) -> Result<Response<Prepared>, Status> {
        let devices = request.into_inner().devices;
        let [id] = &devices[..] else { return Err(Status::invalid_argument("expected one licence for a task")) };
        let mount = Mount {
            host_path: self.file(id)?.display().to_string(),
            path: self.seen_at.display().to_string(),
            writable: false,
        };
        let env = EnvVar { name: "LICENCE".to_owned(), value: mount.path.clone() };
        Ok(Response::new(Prepared { env: vec![env], nodes: Vec::new(), mounts: vec![mount] }))
    }

    async fn release(&self, _request: Request<ReleaseRequest>) -> Result<Response<Released>, Status> {
        // A task can't write to a licence, so there is nothing of it to be cleaned away.
        Ok(Response::new(Released {}))
    }

    async fn self_test(&self, request: Request<SelfTestRequest>) -> Result<Response<SelfTestResult>, Status> {
        let file = self.file(&request.into_inner().device)?;
        let problem = std::fs::read(file).err().map(|error| error.to_string()).unwrap_or_default();
        Ok(Response::new(SelfTestResult { problem }))
    }

    async fn stats(&self, _request: Request<StatsRequest>) -> Result<Response<StatsList>, Status> {
        let ids = self.ids().map_err(|error| Status::internal(error.to_string()))?;
        let stats = |id: String| {
            let bytes = std::fs::metadata(self.folder.join(&id)).map_or(0, |metadata| metadata.len());
            DeviceStats { device: id, figures: BTreeMap::from([("bytes".to_owned(), bytes as f64)]) }
        };
        Ok(Response::new(StatsList { devices: ids.into_iter().map(stats).collect() }))
    }
}
