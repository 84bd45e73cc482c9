//! Networks of tasks on a bridge of the machine, laid by installed CNI plug-ins.
//!
//! Before a group's supervisor is spawned, a network namespace is made that a file below `/run/rialto` keeps, and the plug-ins lay a wire
//! into it and let ports of the machine lead there. What was asked of them is written down in the work directory before they are asked: so
//! whoever finds that file, the agent at the group's end or a later one at its start, can have everything taken away again.

mod cni;

pub(crate) use cni::Mapped;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rialto_core::model::TaskKey;
use rialto_proto::spec::Bridge;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::cni::{Plugins, Wire};
use crate::cgroup;
use crate::launcher::cgroup_name;
use crate::supervisor::make_network_namespace;

/// Where Debian's package and others put plug-ins.
const USUAL: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];
/// Where namespaces are kept, below a folder of the agent's.
const NAMESPACES: &str = "/run/rialto";

/// The networks of an agent's tasks.
#[derive(Clone, Debug)]
pub(crate) struct Networks {
    plugins: Result<Plugins, String>,
    /// What was asked for, a file for each group.
    records: PathBuf,
    namespaces: PathBuf,
    key: String,
}

/// What was asked of the plug-ins for a group.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    id: String,
    namespace: PathBuf,
    ports: Vec<Mapped>,
    /// What they answered; null until they have.
    result: Value,
}

impl Networks {
    /// Those of the agent of a work directory. Without plug-ins there are none, and a task that wants one is told why.
    pub(crate) fn of(work_dir: &Path, plugins: Option<&Path>, subnet: &str) -> Self {
        let usual = || USUAL.iter().map(Path::new).find(|folder| folder.join("bridge").is_file());
        let plugins = match plugins.or_else(usual) {
            None => Err("no CNI plug-ins are installed".to_owned()),
            Some(folder) => {
                let plugins = Plugins { folder: folder.to_owned(), subnet: subnet.to_owned() };
                plugins.missing().map_or(Ok(plugins), Err)
            }
        };
        let key = cgroup::key(work_dir);
        Self { plugins, records: work_dir.join("networks"), namespaces: Path::new(NAMESPACES).join(&key), key }
    }

    /// The ports of the machine that lead into a group's network.
    ///
    /// # Errors
    /// One is named that the task does not hold.
    pub(crate) fn mapped(bridge: &Bridge, held: &[u64]) -> Result<Vec<Mapped>, String> {
        let mapped = |port: &rialto_proto::spec::PortMapping| {
            let index = usize::try_from(port.port_index).unwrap_or(usize::MAX);
            let host = held.get(index).and_then(|port| u16::try_from(*port).ok());
            let host = host.ok_or_else(|| {
                format!("bridge: port_index: expected less than {}, the number of its ports, got {index}", held.len())
            })?;
            Ok(Mapped { host, to: port.to, udp: Mapped::transport(port.transport) })
        };
        bridge.ports.iter().map(mapped).collect()
    }

    /// Lays a group's network; the file of its namespace. Blocks until that is done.
    ///
    /// # Errors
    /// There are no plug-ins, or one of them fails; nothing is left then.
    pub(crate) fn lay(&self, leader: &TaskKey, ports: Vec<Mapped>) -> Result<PathBuf, String> {
        let plugins = self.plugins.as_ref().map_err(|why| format!("bridge network: {why}"))?;
        // One of before is of a start that was cut short.
        self.take_away(leader);
        let name = cgroup_name(leader);
        let namespace = self.namespaces.join(&name);
        // Unique on the machine, for plug-ins keep accounts of their own.
        let mut record = Record { id: format!("{}-{name}", self.key), namespace, ports, result: Value::Null };
        let laid = self.write(&name, &record).map_err(|error| error.to_string()).and_then(|()| {
            make_kept(&record.namespace).map_err(|error| format!("network namespace: {error}"))?;
            plugins.add(&record.wire()).map_err(|error| error.to_string())
        });
        match laid {
            Ok(result) => {
                record.result = result;
                // Without it the wire can be taken away all the same.
                if let Err(error) = self.write(&name, &record) {
                    tracing::warn!("{}: {error}", self.records.display());
                }
                Ok(record.namespace)
            }
            Err(why) => {
                self.take_away(leader);
                Err(format!("bridge network: {why}"))
            }
        }
    }

    /// Takes away what there is of a group's network. Blocks until that is done.
    pub(crate) fn take_away(&self, leader: &TaskKey) {
        self.take_away_named(&cgroup_name(leader));
    }

    /// Takes away the networks of groups that are not known.
    pub(crate) fn take_away_strays(&self, known: &[String]) {
        for entry in fs::read_dir(&self.records).into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            if let Some(name) = name.strip_suffix(".json").filter(|name| !known.iter().any(|known| known == name)) {
                self.take_away_named(name);
            }
        }
    }

    fn take_away_named(&self, name: &str) {
        let path = self.record(name);
        let Ok(text) = fs::read(&path) else { return };
        match serde_json::from_slice::<Record>(&text) {
            Ok(record) => {
                if let Ok(plugins) = &self.plugins
                    && let Err(error) = plugins.remove(&record.wire(), &record.result)
                {
                    tracing::error!(group = name, "its network can't be taken away: {error}");
                }
                forget_kept(&record.namespace);
            }
            Err(error) => tracing::error!("{}: {error}", path.display()),
        }
        if let Err(error) = fs::remove_file(&path) {
            tracing::error!("{}: {error}", path.display());
        }
    }

    fn record(&self, name: &str) -> PathBuf {
        self.records.join(format!("{name}.json"))
    }

    fn write(&self, name: &str, record: &Record) -> io::Result<()> {
        fs::create_dir_all(&self.records)?;
        let temporary = self.records.join(format!("{name}.new"));
        fs::write(&temporary, serde_json::to_vec(record)?)?;
        fs::rename(temporary, self.record(name))
    }
}

impl Record {
    fn wire(&self) -> Wire<'_> {
        Wire { id: &self.id, namespace: &self.namespace, ports: &self.ports }
    }
}

/// Folders are made and removed by one at a time.
static FOLDERS: Mutex<()> = Mutex::new(());

/// Makes a network namespace that lives as long as its file is mounted.
fn make_kept(file: &Path) -> io::Result<()> {
    let _one = FOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = file.parent().expect("it lies in a folder");
    fs::create_dir_all(folder)?;
    // Else namespaces of mounts that are made meanwhile would hold copies of what is mounted, and with them the namespace.
    if mount_change(folder, MountPropagationFlags::SHARED).is_err() {
        mount_bind(folder, folder)?;
        mount_change(folder, MountPropagationFlags::SHARED)?;
    }
    fs::write(file, [])?;
    let made = make_network_namespace(|own| Ok(mount_bind(own, file)?));
    if made.is_err() {
        remove_kept(file);
    }
    made
}

fn forget_kept(file: &Path) {
    let _one = FOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
    remove_kept(file);
}

fn remove_kept(file: &Path) {
    match unmount(file, UnmountFlags::DETACH) {
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
        Err(error) => tracing::error!("{}: {error}", file.display()),
    }
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => tracing::error!("{}: {error}", file.display()),
        _ => {}
    }
    let Some(folder) = file.parent() else { return };
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none()) {
        // Not a mount point, if it was shared from the beginning.
        let _shared_before = unmount(folder, UnmountFlags::DETACH);
        let _others = fs::remove_dir(folder);
    }
}

#[cfg(test)]
mod tests;
