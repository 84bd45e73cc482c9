//! How often what is rented is taken away, over time.

use std::path::Path;
use std::time::Duration;

use rialto_core::model::Time;

use super::prices;
use crate::input::{InputError, Table};

const HOUR: f64 = 3600.0;

/// The most that is believed, an hour.
pub(super) const PER_HOUR_MAX: f64 = 60.0;

/// Interruptions an hour of one machine, from each moment on; none before the first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interruptions(Vec<(Time, f64)>);

impl Interruptions {
    /// Always as many.
    pub fn always(per_hour: f64) -> Self {
        Self(if per_hour > 0.0 { vec![(Time::ZERO, per_hour)] } else { Vec::new() })
    }

    /// A table with the columns `t_s`, seconds from the start, and `per_hour`.
    pub(super) fn read(file: &Path) -> Result<Self, InputError> {
        prices::series(&Table::read(file)?, ("per_hour", PER_HOUR_MAX), |_| Ok(true)).map(Self)
    }

    /// Whether there are any at all.
    pub fn is_any(&self) -> bool {
        self.0.iter().any(|(_, per_hour)| *per_hour > 0.0)
    }

    /// The moment by which a machine that is there from `from` on has so many to expect; `None` if it never has.
    pub(super) fn expected_by(&self, from: Time, expected: f64) -> Option<Time> {
        let mut left = expected;
        for (at, (start, per_hour)) in self.0.iter().enumerate() {
            let start = (*start).max(from);
            let end = self.0.get(at + 1).map(|(end, _)| *end);
            let hours = end.map_or(f64::INFINITY, |end| end.since(start).as_secs_f64() / HOUR);
            if *per_hour > 0.0 && left <= hours * per_hour {
                return Some(start + Duration::from_secs_f64((left * (HOUR / per_hour)).min(1e10)));
            }
            left -= if hours.is_finite() { hours * per_hour } else { 0.0 };
        }
        None
    }

    /// For people.
    pub(super) fn words(&self) -> String {
        match &self.0[..] {
            [] => "never taken away".to_owned(),
            [(_, per_hour)] => format!("taken away {per_hour} times an hour"),
            several => {
                let of = |pick: fn(f64, f64) -> f64| several.iter().map(|(_, per_hour)| *per_hour).reduce(pick);
                let (least, most) = (of(f64::min).unwrap_or_default(), of(f64::max).unwrap_or_default());
                format!("taken away {least} to {most} times an hour, by a list of {}", several.len())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(number: u64) -> Time {
        Time::ZERO + Duration::from_secs(3600 * number)
    }

    #[test]
    fn expected_interruptions_add_up_over_the_steps() {
        let of = Interruptions(vec![(hour(1), 0.5), (hour(3), 0.0), (hour(5), 2.0)]);
        assert_eq!(of.expected_by(hour(0), 0.5), Some(hour(2)), "none come before the first step");
        assert_eq!(of.expected_by(hour(2), 0.5), Some(hour(3)));
        assert_eq!(
            of.expected_by(hour(2), 4.5),
            Some(hour(7)),
            "half of one until hour 3, none until 5, two an hour after"
        );
        assert_eq!(of.expected_by(hour(6), 2.0), Some(hour(7)));
        assert_eq!(Interruptions(vec![(hour(1), 0.5), (hour(3), 0.0)]).expected_by(hour(0), 1.5), None);
        assert_eq!(Interruptions::always(0.0).expected_by(hour(0), 0.1), None);
    }
}
