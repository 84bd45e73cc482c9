//! Reservations and volumes: this agent is the authority on both. What operations have made is in the journal; what there is, is that
//! merged with what the agent is configured with.

use std::sync::Arc;

use super::{Agent, Effect, Out, Record, notice};
use crate::allocator::reservations::{self, Conversion, OperationError};
use crate::gate::Output;
use crate::model::{FromAgent, Operation, OperationId, Reject, Resources, VolumeKey};

impl Agent {
    /// What is there now, from the configuration and the journal. What there is no room for any more is kept in the journal and told.
    pub(super) fn recover_reservations(&mut self) {
        let (total, aside) = reservations::merge(&self.config.resources, &self.journal.reserved);
        self.total = total;
        if !aside.is_empty() {
            let configured = &self.config.resources;
            let text = format!(
                "reservations and volumes that no longer fit into {configured} are kept aside until they do: {aside}"
            );
            self.recovered.push(Effect::Notice(text));
        }
        let doomed = self.journal.doomed.iter().cloned().map(Effect::DestroyVolume);
        let volumes = self.journal.reserved.iter().filter_map(|(flavor, _)| flavor.volume_key());
        self.recovered.extend(doomed.chain(volumes.map(|volume| Effect::MakeVolume { volume, fresh: false })));
    }

    /// What no task or gang holds, devices excepted; shared volumes always are among it. Nothing, if more is held than there is.
    pub(super) fn free(&self) -> Resources {
        let mut free = self.total.clone();
        if free.subtract(&self.used) { free } else { Resources::new() }
    }

    /// Carries an operation out, once: a repeated one is only confirmed.
    pub(super) fn operate(&mut self, id: OperationId, operation: &Operation, out: &mut Out) {
        if self.journal.operated.is_some_and(|last| id <= last) {
            return self.confirm(id, Ok(()), out);
        }
        if self.degraded {
            // Nothing that waits for the journal would leave, and nothing was changed that a crash could undo.
            let resources = self.total.clone();
            let message = FromAgent::Operated { id, result: Err(Reject::JournalDegraded), resources };
            return out.push(Output::Ungated(Effect::ToMaster(message)));
        }
        let result = self.convert(operation).map(|conversion| self.converted(id, &conversion, out));
        self.confirm(id, result, out);
    }

    /// The shell has removed the data of a volume, or can't.
    pub(super) fn volume_destroyed(&mut self, volume: &VolumeKey, result: Result<(), Arc<str>>, out: &mut Out) {
        match result {
            Ok(()) if self.journal.doomed.contains(volume) => {
                self.persist(Record::VolumeDestroyed(volume.clone()), out);
            }
            Ok(()) => {}
            Err(why) => {
                notice(format!("volume {volume}: its data is not removed, tried again at the next start: {why}"), out);
            }
        }
    }

    fn convert(&self, operation: &Operation) -> Result<Conversion, Reject> {
        let refuse = |error: OperationError| error.reject(operation);
        let conversion = Conversion::of(operation).map_err(refuse)?;
        conversion.apply(&mut self.total.clone()).map_err(refuse)?;
        let free = self.free();
        if let Some(key) = self.used_volume(conversion.consumed(), &free) {
            return Err(Reject::VolumeInUse(key.id));
        }
        if !free.contains(conversion.consumed()) {
            return Err(Reject::OfferConflict { left: free });
        }
        self.check_kept(&conversion).map_err(refuse)?;
        Ok(conversion)
    }

    /// What is kept aside, or not yet removed, is not made a second time.
    fn check_kept(&self, conversion: &Conversion) -> Result<(), OperationError> {
        let kept = |key: &VolumeKey| {
            let mut volumes = self.journal.reserved.iter().filter_map(|(flavor, _)| flavor.volume_key());
            self.journal.doomed.contains(key) || volumes.any(|other| other == *key)
        };
        if let Some(key) = conversion.created().into_iter().find(kept) {
            return Err(OperationError::Duplicate(key.id));
        }
        let mut reserved = self.journal.reserved.clone();
        let made = reservations::made_by_operations(conversion.produced());
        let fits = reserved.subtract(&reservations::made_by_operations(conversion.consumed()));
        if fits && reserved.is_disjoint(&made) { Ok(()) } else { Err(OperationError::Overlap) }
    }

    /// A volume among `consumed` that is there and that a task or gang uses.
    fn used_volume(&self, consumed: &Resources, free: &Resources) -> Option<VolumeKey> {
        let live = self.journal.tasks.values().filter(|entry| !entry.is_terminal()).map(|entry| &entry.task);
        let held = self.journal.gangs.values().flatten().flat_map(|launch| &launch.group.tasks);
        let tasks: Vec<&Resources> = live.chain(held).map(|task| &task.resources).collect();
        let volumes = consumed.iter().filter(|(flavor, _)| flavor.volume.is_some());
        let mut used = volumes.filter(|(flavor, _)| {
            free.get(flavor).is_none() || tasks.iter().any(|resources| resources.get(flavor).is_some())
        });
        used.find_map(|(flavor, _)| flavor.volume_key())
    }

    fn converted(&mut self, id: OperationId, conversion: &Conversion, out: &mut Out) {
        let mut reserved = self.journal.reserved.clone();
        let was_kept = reserved.subtract(&reservations::made_by_operations(conversion.consumed()));
        debug_assert!(was_kept, "all that operations have made is in the journal");
        reserved.add(&reservations::made_by_operations(conversion.produced()));
        conversion.apply(&mut self.total).expect("convert() has tried it on a copy");
        let doomed = conversion.destroyed();
        self.persist(Record::Operated { id, reserved, doomed: doomed.clone() }, out);
        out.extend(doomed.into_iter().map(|key| Output::Effect(Effect::DestroyVolume(key))));
        out.extend(
            conversion.created().into_iter().map(|volume| Output::Effect(Effect::MakeVolume { volume, fresh: true })),
        );
    }

    fn confirm(&mut self, id: OperationId, result: Result<(), Reject>, out: &mut Out) {
        let resources = self.total.clone();
        self.tell(FromAgent::Operated { id, result, resources }, out);
    }
}
