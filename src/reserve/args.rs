//! What `rialto reserve`, `rialto unreserve` and `rialto volume` can be told.

use clap::{Args, Subcommand};

use crate::cli::{Connect, Query};

/// `rialto reserve`.
#[derive(Debug, Args)]
pub struct Reserve {
    /// The agent: its name or id.
    #[arg(value_name = "AGENT")]
    pub agent: String,
    /// The role to reserve for.
    #[arg(value_name = "ROLE")]
    pub role: String,
    /// What to reserve, such as "cpus:2;disk:1000"; "cpus(eng):2" refines what is reserved for eng by configuration.
    #[arg(value_name = "RESOURCES")]
    pub resources: String,
    /// How long the reservation lasts, such as 90m, 12h or 7d; for ever by default.
    #[arg(long, value_name = "DURATION")]
    pub until: Option<String>,
    /// A label, KEY=VALUE. May be repeated.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<String>,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

/// `rialto unreserve`.
#[derive(Debug, Args)]
pub struct Unreserve {
    /// The agent: its name or id.
    #[arg(value_name = "AGENT")]
    pub agent: String,
    /// The role that it is reserved for.
    #[arg(value_name = "ROLE")]
    pub role: String,
    /// What to give back, such as "cpus:2;disk:1000".
    #[arg(value_name = "RESOURCES")]
    pub resources: String,
    /// Only what was reserved with this label, KEY=VALUE. May be repeated.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<String>,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

/// `rialto volume`.
#[derive(Debug, Subcommand)]
pub enum Volume {
    /// Make a persistent volume of disk that is reserved for a role.
    Create(Create),
    /// Destroy a volume, and the data in it.
    Destroy(OneVolume),
    /// Make a volume larger.
    Grow(Resize),
    /// Make a volume smaller.
    Shrink(Resize),
    /// The volumes of all agents.
    List(Query),
}

/// `rialto volume create`.
#[derive(Debug, Args)]
pub struct Create {
    /// The agent: its name or id.
    #[arg(value_name = "AGENT")]
    pub agent: String,
    /// The role that the disk is reserved for.
    #[arg(value_name = "ROLE")]
    pub role: String,
    /// The volume's name.
    #[arg(value_name = "ID")]
    pub id: String,
    /// Its size, in MiB.
    #[arg(value_name = "MIB")]
    pub size: String,
    /// Where tasks find it, relative to their sandbox; the volume's name by default.
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
    /// Several tasks may use it at once.
    #[arg(long)]
    pub shared: bool,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

/// A volume.
#[derive(Debug, Args)]
pub struct OneVolume {
    /// The agent: its name or id.
    #[arg(value_name = "AGENT")]
    pub agent: String,
    /// The role that its disk is reserved for.
    #[arg(value_name = "ROLE")]
    pub role: String,
    /// The volume's name.
    #[arg(value_name = "ID")]
    pub id: String,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}

/// `rialto volume grow` and `shrink`.
#[derive(Debug, Args)]
pub struct Resize {
    /// The agent: its name or id.
    #[arg(value_name = "AGENT")]
    pub agent: String,
    /// The role that its disk is reserved for.
    #[arg(value_name = "ROLE")]
    pub role: String,
    /// The volume's name.
    #[arg(value_name = "ID")]
    pub id: String,
    /// By how much, in MiB.
    #[arg(value_name = "MIB")]
    pub by: String,
    /// How to reach the master.
    #[command(flatten)]
    pub connect: Connect,
}
