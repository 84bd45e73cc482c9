//! A task's logs, as they grow.

use std::time::Duration;

use rialto_sdk::logs::{Follow, LogFile, ReadLog, Start};
use rialto_sdk::model::TaskKey;
use rialto_sdk::{ClientError, MasterClient};
use tokio_stream::StreamExt;

use super::printer::{Lines, Printer};

/// How often in a row reading may fail before the log is given up.
const FAILURES_MAX: u32 = 20;
/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_millis(500);

/// Reads both outputs of a task to their ends.
pub(super) struct Reader {
    pub(super) client: MasterClient,
    pub(super) printer: Printer,
    pub(super) job: usize,
    pub(super) task: TaskKey,
}

impl Reader {
    pub(super) async fn read(self) {
        tokio::join!(self.read_file(LogFile::Stdout), self.read_file(LogFile::Stderr));
    }

    /// Goes on where it was if the connection breaks.
    async fn read_file(&self, file: LogFile) {
        let mut lines = self.printer.lines(self.job);
        let (mut offset, mut failures) = (0, 0);
        loop {
            let before = offset;
            let Err(error) = self.read_from(&file, &mut offset, &mut lines).await else { break };
            failures = if offset > before { 1 } else { failures + 1 };
            if failures > FAILURES_MAX {
                self.printer.note(self.job, &format!("its log can't be read: {error}")).await;
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        lines.end().await;
    }

    async fn read_from(&self, file: &LogFile, offset: &mut u64, lines: &mut Lines) -> Result<(), ClientError> {
        let read = ReadLog {
            task: self.task.clone(),
            file: file.clone(),
            start: Start::Offset(*offset),
            follow: Follow::UntilTaskEnds,
            limit: None,
        };
        let mut log = self.client.logs(&read).await?;
        while let Some(bytes) = log.next().await {
            let bytes = bytes?;
            *offset += bytes.len() as u64;
            lines.push(&bytes).await;
        }
        Ok(())
    }
}
