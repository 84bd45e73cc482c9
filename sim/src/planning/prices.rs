//! Prices over time: each holds from its moment on.

use std::path::Path;
use std::time::Duration;

use rialto_core::model::Time;

use crate::input::{InputError, Table};

/// A table with the columns `t_s`, seconds from the start, and `price`, for a machine and hour.
pub(super) fn read(file: &Path) -> Result<Vec<(Time, f64)>, InputError> {
    let table = Table::read(file)?;
    let (at, price) = (table.column("t_s")?, table.column("price")?);
    let mut series: Vec<(Time, f64)> = Vec::new();
    for row in table.rows() {
        let moment = Time::ZERO + Duration::from_secs_f64(row.decimal(at, 3.2e9)?);
        if series.last().is_some_and(|(last, _)| *last >= moment) {
            return Err(row.error("t_s: expected moments in the order of time"));
        }
        series.push((moment, row.decimal(price, 1e12)?));
    }
    Ok(series)
}
