use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rialto_sdk::core::model::Time;

/// When each app must be looked at at the latest, so that an event costs what it touches and not what there is.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    of: BTreeMap<Arc<str>, Time>,
    /// The same, the earliest first.
    by_time: BTreeSet<(Time, Arc<str>)>,
}

impl Agenda {
    /// The app is looked at then at the latest; `None`: only when something happens to it.
    pub(super) fn set(&mut self, app: &Arc<str>, at: Option<Time>) {
        let before = match at {
            Some(at) => self.of.insert(app.clone(), at),
            None => self.of.remove(app),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.by_time.remove(&(before, app.clone()));
        }
        self.by_time.extend(at.map(|at| (at, app.clone())));
    }

    /// The apps whose time has come.
    pub(super) fn due(&self, now: Time) -> impl Iterator<Item = &Arc<str>> {
        self.by_time.iter().take_while(move |(at, _)| *at <= now).map(|(_, app)| app)
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.by_time.first().map(|(at, _)| *at)
    }
}
