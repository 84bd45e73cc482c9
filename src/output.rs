//! What goes to standard output: lines, tables and JSON. A closed pipe is an error here, never a panic; see [`nobody_reads`].

use std::fmt::Display;
use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use comfy_table::{ContentArrangement, Table};
use serde::Serialize;
use tokio::sync::oneshot;

/// Prints a line.
pub fn line(text: impl Display) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}

/// A printer for what reports as it goes and can't be told that printing fails; the receiver gets the first failure, and nothing is
/// printed after it.
pub fn lines() -> (impl FnMut(&dyn Display) + Send, oneshot::Receiver<io::Error>) {
    let (failed_in, failed) = oneshot::channel();
    let mut failed_in = Some(failed_in);
    let print = move |text: &dyn Display| {
        let Some(first) = failed_in.take() else { return };
        match line(text) {
            Ok(()) => failed_in = Some(first),
            // Whoever started it and does not wait for failures has already ended.
            Err(error) => drop(first.send(error)),
        }
    };
    (print, failed)
}

/// Prints rows as a table without lines, or a word that there are none.
pub fn table(header: &[&str], rows: Vec<Vec<String>>, none: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    if rows.is_empty() {
        return writeln!(stdout, "{none}");
    }
    let mut table = Table::new();
    table.load_style(comfy_table::TableStyle::new()).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.iter().map(|title| title.to_uppercase()));
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for line in table.to_string().lines() {
        writeln!(stdout, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Prints `value` as JSON, indented.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{}", serde_json::to_string_pretty(value)?)?;
    Ok(())
}

/// Whether the command failed only because nobody reads its output any more, as in `rialto tasks | head -1`.
pub fn nobody_reads(error: &anyhow::Error) -> bool {
    let broken = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.downcast_ref().is_some_and(broken)
}

/// How long ago that was, in one unit: `5 s`, `3 min`, `2 h`, `4 d`.
pub fn ago(unix_ms: i64) -> String {
    in_one_unit(since(unix_ms))
}

/// In how long that is, in one unit.
pub fn until(unix_ms: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    in_one_unit(Duration::from_millis(u64::try_from(unix_ms).unwrap_or(0)).saturating_sub(now))
}

fn in_one_unit(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// The time from then until now.
pub fn since(unix_ms: i64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_millis(u64::try_from(unix_ms).unwrap_or(0)))
}

/// An amount with no more decimals than it has, thousandths at most.
pub fn amount(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
