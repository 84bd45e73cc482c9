//! How commands reach the master: address, token, certificate.

use std::path::{Path, PathBuf};

use rialto_sdk::blobs::ServeOptions;
use rialto_sdk::{Access, AccessError, ClientError, MasterClient};

use crate::cli::{Connect, Serve};

/// Where a master that was started here keeps its token, relative to the current folder.
const TOKENS_NEARBY: [&str; 2] = [".rialto/master/token", "rialto-master/token"];

impl Connect {
    /// The way to the master, speaking as `principal`.
    pub fn access(&self, principal: &str) -> Result<Access, AccessError> {
        let mut access = Access::new(&self.master)?.with_principal(principal)?;
        if let Some(path) = self.token() {
            access = access.with_token_file(&path)?;
        }
        match &self.tls_ca {
            Some(path) => access.with_ca_file(path),
            None => Ok(access),
        }
    }

    /// A client that asks and commands.
    pub async fn client(&self) -> Result<MasterClient, ClientError> {
        MasterClient::connect(self.access("operator")?).await
    }

    /// The token file to present: the one that was named, else one that a master left nearby.
    pub fn token(&self) -> Option<PathBuf> {
        let nearby = || TOKENS_NEARBY.iter().map(Path::new).find(|path| path.is_file()).map(Path::to_owned);
        self.token_file.clone().or_else(nearby)
    }
}

impl Serve {
    /// Where a framework serves its tasks' files.
    pub fn options(&self) -> ServeOptions {
        ServeOptions { listen: self.listen, advertise: self.advertise.clone() }
    }
}
