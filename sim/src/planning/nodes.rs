//! Pools of machines from lists of nodes, as public traces have them: nodes that are alike are one pool.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rialto_core::model::Milli;

use super::scenario::Pool;
use crate::input::{Column, InputError, Row, Table};

const CPUS_MAX: f64 = 100_000.0;
const MIB_MAX: f64 = 1e9;
/// Memory of a machine for each core, where the list does not say.
const MIB_PER_CPU: f64 = 4096.0;
const MACHINES_MAX: u64 = 100_000;

/// How a list of nodes is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeFormat {
    /// `pool,count,cpu_milli,memory_mib,gpu,gpu_model`.
    Rialto,
    /// `sn,cpu_milli,memory_mib,gpu,model`, a line a node.
    Openb,
    /// `machine,gpu_type,cap_cpu,cap_mem,cap_gpu`, a line a node; memory in GB.
    Pai,
    /// `gpu_model,gpu_capacity_num,cpu_num,node_name`, a line a node; nothing of memory.
    Spot,
}

impl NodeFormat {
    pub(super) const NAMES: &str = "rialto, openb, pai or spot";

    pub(super) fn parse(text: &str) -> Option<Self> {
        let names = [("rialto", Self::Rialto), ("openb", Self::Openb), ("pai", Self::Pai), ("spot", Self::Spot)];
        names.into_iter().find(|(name, _)| *name == text).map(|(_, format)| format)
    }
}

/// What makes a node what it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    pool: String,
    model: String,
    cpus: Milli,
    mem: Milli,
    gpus: u16,
}

/// The pools of a list, by name.
pub(super) fn read(file: &Path, format: NodeFormat) -> Result<Vec<Pool>, InputError> {
    let table = Table::read(file)?;
    let columns = Columns::of(&table, format)?;
    let mut kinds: BTreeMap<Kind, u64> = BTreeMap::new();
    let mut all = 0;
    for row in table.rows() {
        let (kind, count) = columns.read(row)?;
        all += count;
        if all > MACHINES_MAX {
            return Err(row.error(format!("expected at most {MACHINES_MAX} machines, got more up to here")));
        }
        *kinds.entry(kind).or_default() += count;
    }
    let mut of_name: BTreeMap<String, u32> = BTreeMap::new();
    let pool = |(kind, count): (Kind, u64)| {
        let number = of_name.entry(kind.pool.clone()).or_default();
        *number += 1;
        let name = if *number == 1 { kind.pool.clone() } else { format!("{}.{number}", kind.pool) };
        let count = u32::try_from(count).expect("at most MACHINES_MAX");
        Pool { gpus: kind.gpus, model: Arc::from(kind.model), ..Pool::plain(&name, count, kind.cpus, kind.mem) }
    };
    Ok(kinds.into_iter().map(pool).collect())
}

/// Where the columns are; not every list has each.
struct Columns {
    format: NodeFormat,
    pool: Option<Column>,
    count: Option<Column>,
    model: Column,
    cpus: Column,
    mem: Option<Column>,
    gpus: Column,
}

impl Columns {
    fn of(table: &Table, format: NodeFormat) -> Result<Self, InputError> {
        let (model, cpus, mem, gpus) = match format {
            NodeFormat::Rialto => ("gpu_model", "cpu_milli", Some("memory_mib"), "gpu"),
            NodeFormat::Openb => ("model", "cpu_milli", Some("memory_mib"), "gpu"),
            NodeFormat::Pai => ("gpu_type", "cap_cpu", Some("cap_mem"), "cap_gpu"),
            NodeFormat::Spot => ("gpu_model", "cpu_num", None, "gpu_capacity_num"),
        };
        let is_own = format == NodeFormat::Rialto;
        Ok(Self {
            format,
            pool: is_own.then(|| table.column("pool")).transpose()?,
            count: is_own.then(|| table.column("count")).transpose()?,
            model: table.column(model)?,
            cpus: table.column(cpus)?,
            mem: mem.map(|mem| table.column(mem)).transpose()?,
            gpus: table.column(gpus)?,
        })
    }

    fn read(&self, row: Row<'_>) -> Result<(Kind, u64), InputError> {
        let gpus = u16::try_from(row.whole(self.gpus, 256)?).expect("at most 256");
        let model = row.text(self.model)?;
        if gpus > 0 && model.is_empty() {
            return Err(row.error(format!("expected the model of the {gpus} GPUs, got nothing")));
        }
        let unit = if matches!(self.format, NodeFormat::Pai | NodeFormat::Spot) { 1000.0 } else { 1.0 };
        let cpus = row.decimal(self.cpus, CPUS_MAX * 1000.0 / unit)? * unit;
        let mib = match (self.mem, self.format) {
            (Some(mem), NodeFormat::Pai) => row.decimal(mem, MIB_MAX / 1024.0)? * 1024.0,
            (Some(mem), _) => row.decimal(mem, MIB_MAX)?,
            (None, _) => cpus / 1000.0 * MIB_PER_CPU,
        };
        if cpus <= 0.0 {
            return Err(row.error("expected some cores, got none"));
        }
        let name = match self.pool {
            Some(pool) => row.text(pool)?,
            None if gpus == 0 => "cpu",
            None => model,
        };
        if name.is_empty() {
            return Err(row.error("pool: expected a name, got nothing"));
        }
        let count = self.count.map_or(Ok(1), |count| row.whole(count, MACHINES_MAX))?;
        let milli = |amount: f64| Milli(amount.round() as u64);
        let model = if model.is_empty() { name } else { model };
        let kind =
            Kind { pool: name.to_owned(), model: model.to_owned(), cpus: milli(cpus), mem: milli(mib * 1000.0), gpus };
        Ok((kind, count))
    }
}
