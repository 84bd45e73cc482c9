//! Devices that a specification of the Container Device Interface describes: files that vendors' tools write below `/etc/cdi` and
//! `/var/run/cdi`. They are read strictly: a file with anything unknown in it is left out, with one line that says what.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rialto_core::model::{Attribute, Device, DeviceId, DeviceMode, Health, Proof, Quantities, Topology};
use serde::Deserialize;

use super::{Added, Found, Look, check_kind, glob, holders, pairs, parse_mode};
use crate::supervisor::edits::{Edits, Mount, Node};

/// Where specifications lie; what a later folder says of a device wins.
const FOLDERS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];
/// The versions of the format whose fields are known here.
const VERSIONS: [&str; 8] = ["0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0"];
/// The largest specification.
const MAX_BYTES: u64 = 4 << 20;

/// Devices of one CDI kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cdi {
    /// As in `nvidia.com/gpu`.
    cdi_kind: String,
    /// Which names are taken.
    names: String,
    kind: Arc<str>,
    mode: DeviceMode,
    folders: Vec<PathBuf>,
}

impl Cdi {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (cdi_kind, rest) = text.split_once(',').unwrap_or((text, ""));
        let class = cdi_kind.split_once('/').map(|(_, class)| class);
        let class = class.filter(|class| is_cdi_kind(cdi_kind) && !class.is_empty());
        let class = class.ok_or_else(|| format!("expected a kind such as nvidia.com/gpu, got {cdi_kind:?}"))?;
        let folders = FOLDERS.map(PathBuf::from).to_vec();
        let mut cdi = Self {
            cdi_kind: cdi_kind.to_owned(),
            names: "*".to_owned(),
            kind: class.into(),
            mode: DeviceMode::Exclusive,
            folders,
        };
        for (name, value) in pairs(rest)? {
            match name {
                "kind" => cdi.kind = value.into(),
                "mode" => cdi.mode = parse_mode(value)?,
                "name" => value.clone_into(&mut cdi.names),
                "folder" => cdi.folders = vec![PathBuf::from(value)],
                _ => return Err(format!("{name}: not known here; expected kind, mode, name or folder")),
            }
        }
        check_kind(&cdi.kind)?;
        Ok(cdi)
    }

    pub(super) fn look(&self) -> Look {
        let mut look = Look::default();
        let mut devices: BTreeMap<String, (CdiDevice, Arc<ContainerEdits>)> = BTreeMap::new();
        for folder in &self.folders {
            devices.extend(self.read_folder(folder, &mut look.problems));
        }
        let described = devices.into_iter().filter(|(name, _)| glob::matches(self.names.as_bytes(), name.as_bytes()));
        let described: Vec<_> = described.collect();
        let nodes: Vec<BTreeSet<PathBuf>> =
            described.iter().map(|(_, (device, _))| device.container_edits.sources().collect()).collect();
        for (at, (name, (device, common))) in described.iter().enumerate() {
            if is_another_name(at, name, &described, &nodes) {
                continue;
            }
            match self.device(name, &device.container_edits, common) {
                Ok(found) => look.found.push(found),
                Err(problem) => look.problems.push(format!("CDI device {}={name}: {problem}", self.cdi_kind)),
            }
        }
        look
    }

    /// The devices of this kind; one that two files of a folder describe is neither's.
    fn read_folder(
        &self,
        folder: &Path,
        problems: &mut Vec<String>,
    ) -> BTreeMap<String, (CdiDevice, Arc<ContainerEdits>)> {
        let mut devices = BTreeMap::new();
        let mut twice = BTreeSet::new();
        for path in files(folder) {
            let spec = match read(&path) {
                Ok(spec) if spec.kind == self.cdi_kind => spec,
                Ok(_) => continue,
                Err(problem) => {
                    problems.push(format!("CDI specification {}: {problem}", path.display()));
                    continue;
                }
            };
            let common = Arc::new(spec.container_edits);
            for device in spec.devices {
                let name = device.name.clone();
                if devices.insert(name.clone(), (device, common.clone())).is_some() {
                    problems.push(format!(
                        "CDI device {}={name}: two files of {} describe it",
                        self.cdi_kind,
                        folder.display()
                    ));
                    twice.insert(name);
                }
            }
        }
        devices.retain(|name, _| !twice.contains(name));
        devices
    }

    fn device(&self, name: &str, own: &ContainerEdits, common: &ContainerEdits) -> Result<Found, String> {
        let mut nodes: Vec<Arc<str>> = Vec::new();
        let mut added = Added::default();
        for node in &own.device_nodes {
            let (path, from) = node.places();
            if path == from {
                nodes.push(path.to_str().ok_or("path: expected UTF-8")?.into());
            } else {
                added.edits.nodes.push(Node { path, from });
            }
        }
        for edits in [common, own] {
            edits.add_to(&mut added)?;
        }
        added.edits.nodes.extend(common.device_nodes.iter().map(|node| {
            let (path, from) = node.places();
            Node { path, from }
        }));
        let proof =
            if nodes.is_empty() || self.mode == DeviceMode::Shared { Proof::TreeGone } else { holders::proof() };
        let there = nodes.iter().all(|node| Path::new(&**node).exists());
        let device = Device {
            id: DeviceId::new(&format!("{}={name}", self.cdi_kind)),
            kind: self.kind.clone(),
            vendor: self.cdi_kind.split('/').next().unwrap_or_default().into(),
            model: "".into(),
            generation: 0,
            attributes: BTreeMap::from([("name".into(), Attribute::text(name))]),
            topology: Topology::default(),
            mode: self.mode,
            health: if there { Health::Healthy } else { Health::Unhealthy },
            nodes,
            proof,
            host_share: Quantities::new(),
        };
        Ok(Found { device, added })
    }
}

/// Whether a device is what others are, under another name: `all`, whose nodes are those of several; or an index beside a name that stays.
fn is_another_name(
    at: usize,
    name: &str,
    described: &[(String, (CdiDevice, Arc<ContainerEdits>))],
    nodes: &[BTreeSet<PathBuf>],
) -> bool {
    let others = (0..described.len()).filter(|other| *other != at && !nodes[*other].is_empty());
    let is_index = |name: &str| name.chars().all(|c| c.is_ascii_digit());
    others.into_iter().any(|other| {
        let same = nodes[other] == nodes[at];
        let larger = nodes[at].is_superset(&nodes[other]) && !same;
        let other_name = &described[other].0;
        larger || (same && (is_index(name), name) > (is_index(other_name), &**other_name))
    })
}

fn is_cdi_kind(kind: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let Some((vendor, class)) = kind.split_once('/') else { return false };
    [vendor, class].iter().all(|part| part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.chars().all(good))
}

/// Specifications of a folder, in order; none where it is not there.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_spec = |path: &PathBuf| path.extension().is_some_and(|end| end == "json" || end == "yaml" || end == "yml");
    let mut found: Vec<PathBuf> = entries.filter(is_spec).collect();
    found.sort();
    found
}

fn read(path: &Path) -> Result<CdiSpec, String> {
    let length = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > MAX_BYTES {
        return Err(format!("expected at most {MAX_BYTES} bytes, got {length}"));
    }
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let is_json = path.extension().is_some_and(|end| end == "json");
    let spec: CdiSpec = if is_json {
        serde_json::from_str(&text).map_err(|error| error.to_string())?
    } else {
        serde_saphyr::from_str(&text).map_err(|error| error.to_string())?
    };
    spec.check()?;
    Ok(spec)
}

/// A specification, as its file has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct CdiSpec {
    cdi_version: String,
    kind: String,
    #[serde(default, rename = "annotations")]
    _annotations: BTreeMap<String, String>,
    devices: Vec<CdiDevice>,
    #[serde(default)]
    container_edits: ContainerEdits,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct CdiDevice {
    name: String,
    #[serde(default, rename = "annotations")]
    _annotations: BTreeMap<String, String>,
    container_edits: ContainerEdits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ContainerEdits {
    #[serde(default)]
    env: Vec<String>,
    #[serde(default)]
    device_nodes: Vec<DeviceNode>,
    #[serde(default)]
    mounts: Vec<CdiMount>,
    #[serde(default)]
    hooks: Vec<CdiHook>,
    #[serde(default)]
    intel_rdt: Option<serde_json::Value>,
    #[serde(default, rename = "additionalGids")]
    additional_gids: Vec<u32>,
    #[serde(default)]
    net_devices: Vec<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct DeviceNode {
    path: PathBuf,
    #[serde(default)]
    host_path: Option<PathBuf>,
    // The node of the machine says these.
    #[serde(default, rename = "type")]
    _type: Option<String>,
    #[serde(default, rename = "major")]
    _major: Option<i64>,
    #[serde(default, rename = "minor")]
    _minor: Option<i64>,
    #[serde(default, rename = "fileMode")]
    _file_mode: Option<u32>,
    #[serde(default, rename = "permissions")]
    _permissions: Option<String>,
    #[serde(default, rename = "uid")]
    _uid: Option<u32>,
    #[serde(default, rename = "gid")]
    _gid: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct CdiMount {
    host_path: PathBuf,
    container_path: PathBuf,
    #[serde(default)]
    options: Vec<String>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct CdiHook {
    hook_name: String,
    path: PathBuf,
    // They change the files of an image for one runtime's ways of finding them; here they are checked and not run.
    #[serde(default, rename = "args")]
    _args: Vec<String>,
    #[serde(default, rename = "env")]
    _env: Vec<String>,
    #[serde(default, rename = "timeout")]
    _timeout: Option<u32>,
}

/// When hooks may run.
const HOOKS: [&str; 6] = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// Those that make the container what it is to be, before anything runs in it.
const MADE_BEFORE: [&str; 3] = ["prestart", "createRuntime", "createContainer"];

impl CdiSpec {
    fn check(&self) -> Result<(), String> {
        let version = self.cdi_version.trim_start_matches('v');
        if !VERSIONS.contains(&version) {
            return Err(format!("cdiVersion: expected one of {}, got {:?}", VERSIONS.join(", "), self.cdi_version));
        }
        if !is_cdi_kind(&self.kind) {
            return Err(format!("kind: expected VENDOR/CLASS, got {:?}", self.kind));
        }
        if self.devices.is_empty() {
            return Err("devices: expected at least one".to_owned());
        }
        self.container_edits.check().map_err(|why| format!("containerEdits.{why}"))?;
        for (index, device) in self.devices.iter().enumerate() {
            let good = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
            let name_good = !device.name.is_empty() && device.name.len() <= 120 && device.name.chars().all(good);
            if !name_good {
                return Err(format!(
                    "devices[{index}].name: expected letters, digits, '.', '_', ':', '-', got {:?}",
                    device.name
                ));
            }
            device.container_edits.check().map_err(|why| format!("devices[{index}].containerEdits.{why}"))?;
        }
        Ok(())
    }
}

impl ContainerEdits {
    fn check(&self) -> Result<(), String> {
        let plain = |path: &Path| path.is_absolute() && !path.iter().any(|part| part == "..");
        let bad = |field: &str, index: usize, want: &str| Err(format!("{field}[{index}]: expected {want}"));
        for (index, variable) in self.env.iter().enumerate() {
            if variable.split_once('=').is_none_or(|(name, _)| name.is_empty()) || variable.contains('\0') {
                return bad("env", index, "NAME=VALUE");
            }
        }
        for (index, node) in self.device_nodes.iter().enumerate() {
            let (path, from) = node.places();
            if !plain(&path) || !plain(&from) || !path.starts_with("/dev") {
                return bad("deviceNodes", index, "absolute paths, of which the task's lies below /dev");
            }
        }
        for (index, mount) in self.mounts.iter().enumerate() {
            if !plain(&mount.host_path) || !plain(&mount.container_path) {
                return bad("mounts", index, "absolute paths without '..'");
            }
            if mount.kind.as_deref().is_some_and(|kind| !kind.is_empty() && kind != "bind") {
                return bad("mounts", index, "no type but bind");
            }
        }
        for (index, hook) in self.hooks.iter().enumerate() {
            if !HOOKS.contains(&&*hook.hook_name) || !plain(&hook.path) {
                return bad("hooks", index, &format!("one of {} with an absolute path", HOOKS.join(", ")));
            }
        }
        if let Some(hook) = self.hooks.iter().find(|hook| !MADE_BEFORE.contains(&&*hook.hook_name)) {
            return Err(format!("hooks: {} is not done by this agent", hook.hook_name));
        }
        match (&self.intel_rdt, self.net_devices.is_empty(), self.additional_gids.is_empty()) {
            (Some(_), ..) => Err("intelRdt: not done by this agent".to_owned()),
            (_, false, _) => Err("netDevices: not done by this agent".to_owned()),
            (.., false) => Err("additionalGids: not done by this agent".to_owned()),
            _ => Ok(()),
        }
    }

    fn sources(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.device_nodes.iter().map(|node| node.places().1)
    }

    /// Adds all but the nodes, of which it matters whose they are.
    fn add_to(&self, added: &mut Added) -> Result<(), String> {
        for variable in &self.env {
            let (name, value) = variable.split_once('=').ok_or("env: expected NAME=VALUE")?;
            added.env.push((name.to_owned(), value.to_owned()));
        }
        let mounts = self.mounts.iter().map(|mount| Mount {
            from: mount.host_path.clone(),
            to: mount.container_path.clone(),
            writable: !mount.options.iter().any(|option| option == "ro"),
        });
        added.edits.extend(Edits { mounts: mounts.collect(), ..Edits::default() });
        Ok(())
    }
}

impl DeviceNode {
    /// Where the task sees it, and where it is.
    fn places(&self) -> (PathBuf, PathBuf) {
        let from = self.host_path.clone().filter(|path| !path.as_os_str().is_empty());
        (self.path.clone(), from.unwrap_or_else(|| self.path.clone()))
    }
}

#[cfg(test)]
#[path = "cdi_tests.rs"]
mod tests;
