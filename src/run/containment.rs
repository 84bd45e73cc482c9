//! The options of `rialto run` that say what a task gets at most, what it finds in its sandbox, and how it is kept apart.

use anyhow::Context;
use clap::Args;
use rialto_proto::spec::{ContainerSpec, Limits, Rlimit};
use rialto_sdk::Command;

/// What a task may use, and how it is kept apart.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Containment")]
pub struct Containment {
    /// Put something into its sandbox before it starts: URI[,to=PATH][,sha256=DIGEST][,extract][,executable][,signature=URI]. May be repeated.
    #[arg(long = "fetch", value_name = "URI[,…]")]
    pub fetch: Vec<String>,
    /// The most cores that it may use.
    #[arg(long, value_name = "CORES")]
    pub limit_cpus: Option<String>,
    /// The most memory that it may use, in MiB; more than --mem is memory that it may lose to others.
    #[arg(long, value_name = "MIB")]
    pub limit_mem: Option<u64>,
    /// The most processes and threads that it may have.
    #[arg(long, value_name = "N")]
    pub limit_pids: Option<u64>,
    /// A limit of each of its processes, NAME=SOFT[:HARD], as in nofile=1024:4096; "unlimited" is none. May be repeated.
    #[arg(long = "ulimit", value_name = "NAME=SOFT[:HARD]")]
    pub ulimits: Vec<String>,
    /// Run in this image: oci:FOLDER[:TAG], oci-archive:FILE[:TAG] or docker://HOST/NAME[:TAG], each with @sha256:DIGEST or without.
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// It can write to its sandbox, its volumes and /tmp only.
    #[arg(long)]
    pub read_only: bool,
    /// It has no network but a loopback of its own.
    #[arg(long)]
    pub private_network: bool,
    /// Who runs it: a name, UID or UID:GID.
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
}

impl Containment {
    /// The command with what these say.
    ///
    /// # Errors
    /// Names the option that can't be used.
    pub fn apply(&self, mut command: Command) -> anyhow::Result<Command> {
        for artefact in &self.fetch {
            command = command.fetch(artefact).with_context(|| format!("--fetch {artefact}"))?;
        }
        let cpus = self.limit_cpus.as_ref().map(|text| text.parse()).transpose().context("--limit-cpus")?;
        let limits = Limits { cpus, mem_mib: self.limit_mem, pids: self.limit_pids };
        let rlimits = self.ulimits.iter().map(|text| rlimit(text).with_context(|| format!("--ulimit {text}")));
        let container = ContainerSpec {
            read_only: self.read_only,
            private_network: self.private_network,
            image: self.image.clone(),
            rlimits: rlimits.collect::<anyhow::Result<_>>()?,
        };
        let command = command.limits(limits).container(container);
        Ok(match &self.user {
            Some(user) => command.user(user),
            None => command,
        })
    }
}

fn rlimit(text: &str) -> anyhow::Result<Rlimit> {
    let (name, value) = text.split_once('=').context("expected NAME=SOFT[:HARD]")?;
    let (soft, hard) = value.split_once(':').unwrap_or((value, value));
    let number = |text: &str| match text {
        "unlimited" => Ok(None),
        text => text.parse().map(Some).context("expected a number or unlimited"),
    };
    Ok(Rlimit { name: name.to_owned(), soft: number(soft)?, hard: number(hard)? })
}

#[cfg(test)]
mod tests;
