//! `rialto web`.

use std::path::Path;

use tokio::sync::watch;

use crate::dev::{Phase, reached};

/// The framework as `rialto dev` hosts it.
pub fn host(
    _work_dir: &Path,
    _master: &str,
    ended: watch::Receiver<Phase>,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + Send + 'static> {
    Ok(async move {
        reached(ended, Phase::Frameworks).await;
        Ok(())
    })
}
