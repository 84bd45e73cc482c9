//! The format of our own: what `jobs.csv` of a report has too, so that it reads back.

use std::sync::Arc;
use std::time::Duration;

use rialto_core::model::Share;
use rialto_core::scheduler::placement::gpu::GpuAsk;

use super::{CPUS_MAX, List, Listed, MIB_MAX, PerMachine, SECONDS_MAX, TASKS_MAX, TraceJob, Traits, host, seconds};
use crate::input::{Column, InputError, Row, Table};

/// How long a job lasts that has no end.
pub(crate) const ENDLESS: Duration = Duration::from_secs(SECONDS_MAX as u64);
const PRIORITY_MAX: i32 = 1_000_000;

impl List {
    pub(super) fn rialto(
        &mut self,
        table: &Table,
        counts: impl Fn(Row<'_>) -> Result<bool, InputError>,
    ) -> Result<(), InputError> {
        let columns = Columns::of(table)?;
        for row in table.rows() {
            self.counts = counts(row)?;
            columns.read(row, self)?;
        }
        Ok(())
    }
}

/// Where the columns are; those that may be left out have their own defaults.
struct Columns {
    submit: Column,
    tasks: Column,
    cpus: Column,
    mem: Column,
    gpus: Column,
    share: Column,
    spec: Column,
    run: Column,
    name: Option<Column>,
    gang: Option<Column>,
    priority: Option<Column>,
    app: Option<Column>,
    per_node: Option<Column>,
    running: Option<Column>,
}

impl Columns {
    fn of(table: &Table) -> Result<Self, InputError> {
        let column = |name| table.column(name);
        Ok(Self {
            submit: column("submit_s")?,
            tasks: column("tasks")?,
            cpus: column("cpu_milli")?,
            mem: column("memory_mib")?,
            gpus: column("gpu")?,
            share: column("gpu_milli")?,
            spec: column("gpu_spec")?,
            run: column("duration_s")?,
            name: table.optional("job"),
            gang: table.optional("gang"),
            priority: table.optional("priority"),
            app: table.optional("app"),
            per_node: table.optional("max_per_node"),
            running: table.optional("running_at_start"),
        })
    }

    fn read(&self, row: Row<'_>, list: &mut List) -> Result<(), InputError> {
        let tasks = row.whole(self.tasks, TASKS_MAX)?;
        let submit = seconds(row.decimal(self.submit, SECONDS_MAX)?);
        let duration = match row.text(self.run)? {
            "" => ENDLESS,
            _ => seconds(row.decimal(self.run, SECONDS_MAX)?),
        };
        let job = TraceJob { submit, duration, ask: self.ask(row)? };
        let is_gang = self.flag(self.gang, row)?;
        let members = if is_gang { u32::try_from(tasks).unwrap_or(u32::MAX) } else { 1 };
        let traits = Traits { members, bound: self.bound(row, list)?, priority: self.priority(row)? };
        let name = self.name.map(|name| row.text(name)).transpose()?.map(Arc::from);
        let is_running = self.flag(self.running, row)?;
        if is_running && !submit.is_zero() {
            return Err(row.error("running_at_start: expected 1 only where submit_s is 0"));
        }
        list.add_listed(tasks, Listed { job, traits, name, is_running }).map_err(|what| row.error(what))
    }

    fn ask(&self, row: Row<'_>) -> Result<GpuAsk, InputError> {
        let gpus = u16::try_from(row.whole(self.gpus, 256)?).expect("at most 256");
        let share = u16::try_from(row.whole(self.share, 1000)?).expect("at most 1000");
        if gpus > 0 && share == 0 {
            return Err(row.error("gpu_milli: expected 1 to 1000 of each GPU, got 0"));
        }
        let spec = row.text(self.spec)?.split('|').map(str::trim).filter(|model| !model.is_empty());
        let mut models: Vec<Arc<str>> = spec.map(Arc::from).collect();
        models.sort();
        Ok(GpuAsk {
            gpus,
            share: Share(if gpus > 0 { share } else { 0 }),
            models: if gpus > 0 { models } else { Vec::new() },
            ..host(row.decimal(self.cpus, CPUS_MAX * 1000.0)? / 1000.0, row.decimal(self.mem, MIB_MAX)?)
        })
    }

    /// How many of its app may be on one machine.
    fn bound(&self, row: Row<'_>, list: &mut List) -> Result<Option<PerMachine>, InputError> {
        let Some(per_node) = self.per_node else { return Ok(None) };
        let app = self.app.ok_or_else(|| row.error("max_per_node: expected a column \"app\" beside it, got none"))?;
        let (app, max) = (row.text(app)?.to_owned(), row.text(per_node)?);
        list.bound(app, max).map_err(|what| row.error(what))
    }

    fn priority(&self, row: Row<'_>) -> Result<i32, InputError> {
        let Some(column) = self.priority else { return Ok(0) };
        let text = row.text(column)?;
        if text.is_empty() {
            return Ok(0);
        }
        let priority = text.parse().ok().filter(|priority| (-PRIORITY_MAX..=PRIORITY_MAX).contains(priority));
        priority.ok_or_else(|| {
            row.error(format!("priority: expected a whole number from -{PRIORITY_MAX} to {PRIORITY_MAX}, got {text:?}"))
        })
    }

    /// What is 1 for yes; 0 or nothing means no.
    fn flag(&self, column: Option<Column>, row: Row<'_>) -> Result<bool, InputError> {
        match column.map(|column| row.text(column)).transpose()? {
            None | Some("" | "0") => Ok(false),
            Some("1") => Ok(true),
            Some(_) => row.whole(column.expect("it was read"), 1).map(|one| one == 1),
        }
    }
}
