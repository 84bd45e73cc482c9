//! The nodes and pods of a GPU cluster, in the columns of the public openb traces.

use std::path::Path;
use std::sync::Arc;

use rialto_core::model::{Milli, Share};
use rialto_core::scheduler::placement::gpu::GpuAsk;

use crate::input::{InputError, Row, Table};

/// The most that one machine is believed to have.
const CPU_MILLI_MAX: u64 = 100_000_000;
const MEM_MIB_MAX: u64 = 1 << 30;
const GPUS_MAX: u64 = 256;

/// A machine of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Cores.
    pub cpus: Milli,
    /// Memory in MiB.
    pub mem: Milli,
    /// How many GPUs it has.
    pub gpus: u16,
    /// What they are; empty if there are none.
    pub model: Arc<str>,
}

/// The nodes of a cluster: a file with the columns `sn`, `cpu_milli`, `memory_mib`, `gpu` and `model`.
///
/// # Errors
/// If the file can't be read, a column is missing, a line is broken, there are no nodes, or no node has a GPU.
pub fn read_nodes(file: &Path) -> Result<Vec<Node>, InputError> {
    nodes(&Table::read(file)?)
}

/// The pods that arrive: a file with the columns `name`, `cpu_milli`, `memory_mib`, `num_gpu`, `gpu_milli` and, optionally, `gpu_spec`.
///
/// # Errors
/// If the file can't be read, a column is missing, a line is broken, or there are no pods.
pub fn read_pods(file: &Path) -> Result<Vec<GpuAsk>, InputError> {
    pods(&Table::read(file)?)
}

pub(super) fn nodes(table: &Table) -> Result<Vec<Node>, InputError> {
    let (name, cpus, mem) = (table.column("sn")?, table.column("cpu_milli")?, table.column("memory_mib")?);
    let (gpus, model) = (table.column("gpu")?, table.column("model")?);
    let node = |row: Row<'_>| {
        let node = Node {
            name: row.text(name)?.to_owned(),
            cpus: Milli(row.whole(cpus, CPU_MILLI_MAX)?),
            mem: Milli::from_whole(row.whole(mem, MEM_MIB_MAX)?),
            gpus: u16::try_from(row.whole(gpus, GPUS_MAX)?).expect("it is at most GPUS_MAX"),
            model: Arc::from(row.text(model)?),
        };
        if node.name.is_empty() {
            return Err(row.error("sn: expected the name of the node, got nothing"));
        }
        if node.gpus > 0 && node.model.is_empty() {
            return Err(row.error(format!("model: expected the model of the {} GPUs, got nothing", node.gpus)));
        }
        Ok(node)
    };
    let nodes: Vec<Node> = table.rows().map(node).collect::<Result<_, _>>()?;
    match table.rows().last() {
        Some(row) if nodes.iter().all(|node| node.gpus == 0) => {
            Err(row.error("gpu: expected at least one node with a GPU, got none up to here"))
        }
        _ => Ok(nodes),
    }
}

pub(super) fn pods(table: &Table) -> Result<Vec<GpuAsk>, InputError> {
    let (cpus, mem) = (table.column("cpu_milli")?, table.column("memory_mib")?);
    let (count, share) = (table.column("num_gpu")?, table.column("gpu_milli")?);
    let models = table.optional("gpu_spec");
    let pod = |row: Row<'_>| {
        let gpus = u16::try_from(row.whole(count, GPUS_MAX)?).expect("it is at most GPUS_MAX");
        let share = u16::try_from(row.whole(share, 1000)?).expect("it is at most 1000");
        if gpus > 0 && share == 0 {
            return Err(row.error(format!("gpu_milli: expected 1 to 1000 of each of the {gpus} GPUs, got 0")));
        }
        let mut ask = GpuAsk {
            cpus: Milli(row.whole(cpus, CPU_MILLI_MAX)?),
            mem: Milli::from_whole(row.whole(mem, MEM_MIB_MAX)?),
            gpus,
            share: Share(if gpus > 0 { share } else { 0 }),
            models: Vec::new(),
        };
        let spec = models.map(|column| row.text(column)).transpose()?.unwrap_or_default();
        if gpus > 0 {
            ask.models = spec.split('|').map(str::trim).filter(|model| !model.is_empty()).map(Arc::from).collect();
            ask.models.sort();
        }
        Ok(ask)
    };
    table.rows().map(pod).collect()
}
