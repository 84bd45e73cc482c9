//! Lines of many jobs on one output.

use std::io::Write;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::options::{Colour, Output};
use crate::spec::Pipeline;

/// How many pieces wait for the output; who prints more waits.
const PIECES_MAX: usize = 256;
/// Longer names are not aligned.
const WIDTH_MAX: usize = 28;
/// A line that is longer, in bytes, is broken.
const LINE_MAX: usize = 64 << 10;
const COLOURS: [u8; 6] = [36, 33, 32, 35, 34, 31];

/// Prints lines whole, each behind the name of its job. Cheap to clone.
#[derive(Clone)]
pub(super) struct Printer {
    pieces: mpsc::Sender<Vec<u8>>,
    prefixes: Arc<[Vec<u8>]>,
    colour: Colour,
}

impl Printer {
    /// The printer, and the thread that writes until the last printer is gone.
    pub(super) fn start(output: Output, pipeline: &Pipeline) -> (Self, JoinHandle<()>) {
        let (pieces, receiver) = mpsc::channel(PIECES_MAX);
        let Output { writer, colour } = output;
        let writing = tokio::task::spawn_blocking(move || write(writer, receiver));
        let chars = |name: &str| name.chars().count();
        let width =
            pipeline.jobs.iter().map(|job| chars(&job.name)).filter(|width| *width <= WIDTH_MAX).max().unwrap_or(0);
        let prefix = |(at, name): (usize, &str)| match colour {
            Colour::No => format!("{name:width$} | ").into_bytes(),
            Colour::Yes => format!("\x1b[{}m{name:width$} |\x1b[0m ", COLOURS[at % COLOURS.len()]).into_bytes(),
        };
        let prefixes = pipeline.jobs.iter().map(|job| job.name.as_str()).enumerate().map(prefix).collect();
        (Self { pieces, prefixes, colour }, writing)
    }

    /// A line about the run.
    pub(super) async fn say(&self, text: &str) {
        self.raw(format!("{}\n", self.strong(&format!("== {text}"))).into_bytes()).await;
    }

    /// A line about a job.
    pub(super) async fn note(&self, job: usize, text: &str) {
        let mut line = self.prefixes[job].clone();
        line.extend(self.strong(&format!("== {text}")).bytes());
        line.push(b'\n');
        self.raw(line).await;
    }

    /// These bytes, as they are. An output that is gone is no reason to stop a pipeline.
    pub(super) async fn raw(&self, bytes: Vec<u8>) {
        if self.pieces.send(bytes).await.is_err() {
            tracing::debug!("the output is gone");
        }
    }

    /// The lines of one of a job's outputs.
    pub(super) fn lines(&self, job: usize) -> Lines {
        Lines { printer: self.clone(), job, rest: Vec::new() }
    }

    fn strong(&self, text: &str) -> String {
        match self.colour {
            Colour::No => text.to_owned(),
            Colour::Yes => format!("\x1b[1m{text}\x1b[0m"),
        }
    }
}

/// Makes lines of bytes as they come. The bytes are printed as they are, whatever they mean.
pub(super) struct Lines {
    printer: Printer,
    job: usize,
    rest: Vec<u8>,
}

impl Lines {
    pub(super) async fn push(&mut self, bytes: &[u8]) {
        let mut piece = Vec::with_capacity(bytes.len() + 64);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            for part in line.chunks(LINE_MAX) {
                self.rest.extend_from_slice(part);
                if self.rest.ends_with(b"\n") || self.rest.len() >= LINE_MAX {
                    self.take_line(&mut piece);
                }
            }
        }
        if !piece.is_empty() {
            self.printer.raw(piece).await;
        }
    }

    /// Prints what is left without an end of line.
    pub(super) async fn end(mut self) {
        if !self.rest.is_empty() {
            let mut piece = Vec::new();
            self.take_line(&mut piece);
            self.printer.raw(piece).await;
        }
    }

    fn take_line(&mut self, piece: &mut Vec<u8>) {
        piece.extend_from_slice(&self.printer.prefixes[self.job]);
        piece.append(&mut self.rest);
        if !piece.ends_with(b"\n") {
            piece.push(b'\n');
        }
    }
}

fn write(mut writer: Box<dyn Write + Send>, mut pieces: mpsc::Receiver<Vec<u8>>) {
    while let Some(piece) = pieces.blocking_recv() {
        let idle = pieces.is_empty();
        let written = writer.write_all(&piece).and_then(|()| if idle { writer.flush() } else { Ok(()) });
        if let Err(error) = written {
            tracing::debug!(%error, "the output is gone");
            return;
        }
    }
    if let Err(error) = writer.flush() {
        tracing::debug!(%error, "the output is gone");
    }
}
