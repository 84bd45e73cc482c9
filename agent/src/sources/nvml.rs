//! GPUs of NVIDIA, through the driver's management library, which is loaded while the agent runs. A machine without it has no such GPUs.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use nvml_wrapper::Nvml as Library;
use nvml_wrapper::enum_wrappers::device::EccCounter;
use nvml_wrapper::error::NvmlError;
use rialto_core::model::{Attribute, Device, DeviceId, DeviceMode, Health, Proof, Quantities, Topology};

use super::{Added, Found, Look, holders, pairs, parse_mode};
use crate::supervisor::edits::Node;

/// What every user of a GPU opens too.
const SHARED_NODES: [&str; 4] = ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset"];
/// Names of the library: with the version first, as machines without a compiler have only that.
const LIBRARIES: [&str; 2] = ["libnvidia-ml.so.1", "libnvidia-ml.so"];
/// The most links of a GPU.
const MAX_LINKS: u32 = 18;

/// All GPUs that the library knows.
#[derive(Debug)]
pub(super) struct Nvml {
    mode: DeviceMode,
    library: Option<PathBuf>,
    loaded: Mutex<Option<Box<Library>>>,
}

impl Clone for Nvml {
    fn clone(&self) -> Self {
        Self { mode: self.mode, library: self.library.clone(), loaded: Mutex::new(None) }
    }
}

impl PartialEq for Nvml {
    fn eq(&self, other: &Self) -> bool {
        (self.mode, &self.library) == (other.mode, &other.library)
    }
}

impl Eq for Nvml {}

impl Nvml {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut nvml = Self { mode: DeviceMode::Exclusive, library: None, loaded: Mutex::new(None) };
        for (name, value) in pairs(text)? {
            match name {
                "mode" => nvml.mode = parse_mode(value)?,
                "library" => nvml.library = Some(PathBuf::from(value)),
                _ => return Err(format!("{name}: not known here; expected mode or library")),
            }
        }
        Ok(nvml)
    }

    /// What is there. Loads the library if that was not done before.
    pub(super) fn look(&self) -> Look {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.is_none() {
            match self.load() {
                Ok(library) => *loaded = Some(Box::new(library)),
                Err(problem) => return Look { found: Vec::new(), problems: vec![problem] },
            }
        }
        let Some(library) = loaded.as_ref() else { return Look::default() };
        let look = self.ask(library);
        if look.found.is_empty() {
            // A driver that was exchanged meanwhile answers only to a library that is loaded anew.
            *loaded = None;
        }
        look
    }

    fn load(&self) -> Result<Library, String> {
        let given = self.library.iter().map(|path| path.as_os_str());
        let names: Vec<&OsStr> =
            if self.library.is_some() { given.collect() } else { LIBRARIES.map(OsStr::new).to_vec() };
        let mut why = String::new();
        for name in names {
            match Library::builder().lib_path(name).init() {
                Ok(library) => return Ok(library),
                Err(error) => why = error.to_string(),
            }
        }
        Err(format!("NVML: no GPUs of NVIDIA, because the driver's library can't be used: {why}"))
    }

    fn ask(&self, library: &Library) -> Look {
        let mut look = Look::default();
        let count = match library.device_count() {
            Ok(count) => count,
            Err(error) => {
                look.problems.push(format!("NVML: the GPUs can't be counted: {error}"));
                return look;
            }
        };
        let by_bus: BTreeMap<String, DeviceId> = (0..count)
            .filter_map(|index| {
                let gpu = library.device_by_index(index).ok()?;
                Some((bus_id(&gpu.pci_info().ok()?.bus_id), DeviceId::new(&gpu.uuid().ok()?)))
            })
            .collect();
        for index in 0..count {
            match library.device_by_index(index).and_then(|gpu| self.device(&gpu, &by_bus)) {
                Ok(Some(found)) => look.found.push(found),
                Ok(None) => look.problems.push(format!("NVML: GPU {index} is in parts (MIG); it is not given out")),
                Err(error) => look.problems.push(format!("NVML: GPU {index} can't be asked: {error}")),
            }
        }
        look
    }

    /// `None` for a GPU that is in parts.
    fn device(
        &self,
        gpu: &nvml_wrapper::Device<'_>,
        by_bus: &BTreeMap<String, DeviceId>,
    ) -> Result<Option<Found>, NvmlError> {
        if gpu.mig_mode().is_ok_and(|mode| mode.current != 0) {
            return Ok(None);
        }
        let id = DeviceId::new(&gpu.uuid()?);
        let bus = bus_id(&gpu.pci_info()?.bus_id);
        let node = format!("/dev/nvidia{}", gpu.minor_number()?);
        let memory = gpu.memory_info()?.total;
        let mut attributes =
            BTreeMap::from([("memory".into(), Attribute::Quantity(memory)), ("pci".into(), Attribute::text(&bus))]);
        let capability = gpu.cuda_compute_capability().ok();
        if let Some(found) = &capability {
            attributes.insert("compute".into(), Attribute::parse(&format!("{}.{}", found.major, found.minor)));
        }
        let device = Device {
            topology: topology(gpu, &bus, &id, by_bus),
            id,
            kind: "gpu".into(),
            vendor: "nvidia".into(),
            model: model(&gpu.name()?).as_str().into(),
            generation: capability.and_then(|found| u32::try_from(found.major).ok()).unwrap_or(0),
            attributes,
            mode: self.mode,
            health: health(gpu),
            nodes: vec![node.as_str().into()],
            proof: if self.mode == DeviceMode::Shared { Proof::TreeGone } else { holders::proof() },
            host_share: Quantities::new(),
        };
        let shared = SHARED_NODES.iter().map(PathBuf::from).filter(|node| node.exists());
        let mut added = Added::default();
        added.edits.nodes = shared.map(|path| Node { from: path.clone(), path }).collect();
        Ok(Some(Found { device, added }))
    }
}

/// `NVIDIA H200` → `H200`.
fn model(name: &str) -> String {
    let name =
        ["NVIDIA ", "Tesla ", "GeForce "].iter().fold(name, |name, prefix| name.strip_prefix(prefix).unwrap_or(name));
    name.trim().chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect()
}

/// As the kernel writes it: `00000000:3B:00.0` → `0000:3b:00.0`.
fn bus_id(text: &str) -> String {
    let text = text.to_ascii_lowercase();
    match text.split_once(':') {
        Some((domain, rest)) if domain.len() > 4 => format!("{}:{rest}", &domain[domain.len() - 4..]),
        _ => text,
    }
}

fn topology(
    gpu: &nvml_wrapper::Device<'_>,
    bus: &str,
    own: &DeviceId,
    by_bus: &BTreeMap<String, DeviceId>,
) -> Topology {
    let folder = Path::new("/sys/bus/pci/devices").join(bus);
    let numa = fs::read_to_string(folder.join("numa_node")).ok().and_then(|text| text.trim().parse().ok());
    let root = folder.canonicalize().ok().and_then(|path| {
        path.iter().find_map(|part| part.to_str().filter(|part| part.starts_with("pci")).map(std::sync::Arc::from))
    });
    let links = (0..MAX_LINKS).filter_map(|link| {
        let link = gpu.link_wrapper_for(link);
        let remote = link.is_active().ok().filter(|active| *active).and_then(|_| link.remote_pci_info().ok())?;
        by_bus.get(&bus_id(&remote.bus_id)).filter(|id| *id != own).cloned()
    });
    let mut links: BTreeSet<DeviceId> = links.collect();
    if links.is_empty() && through_switch(gpu) {
        links = by_bus.values().filter(|id| *id != own).cloned().collect();
    }
    Topology { numa_node: numa, pci_root: root, links }
}

/// Whether it has active links that lead to no other GPU: they lead to a switch, through which it reaches all others.
fn through_switch(gpu: &nvml_wrapper::Device<'_>) -> bool {
    (0..MAX_LINKS).any(|link| gpu.link_wrapper_for(link).is_active().unwrap_or(false))
}

/// Errors that can't be corrected since the driver was loaded.
fn health(gpu: &nvml_wrapper::Device<'_>) -> Health {
    use nvml_wrapper::enum_wrappers::device::MemoryError;
    match gpu.total_ecc_errors(MemoryError::Uncorrected, EccCounter::Volatile) {
        Ok(errors) if errors > 0 => Health::Degraded,
        // Without ECC there is nothing to ask.
        Ok(_) | Err(NvmlError::NotSupported) => Health::Healthy,
        Err(NvmlError::GpuLost | NvmlError::Unknown) => Health::Unhealthy,
        Err(_) => Health::Healthy,
    }
}
