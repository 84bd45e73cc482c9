use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rialto_core::model::{Attribute, Domain, Resources};

use crate::fetch::FetchPolicy;
use crate::images::Login;
use crate::sources::DeviceSource;
use crate::{OciRuntime, UserNamespaces};

/// How an agent is to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the master is: `host:port`, or a URL with `http` or `https`.
    pub master: String,
    /// Everything that the agent keeps lies below this folder.
    pub work_dir: PathBuf,
    /// For people; the host's name is a good one.
    pub name: String,
    /// What to offer instead of what is detected, resource by resource: `cpus:4;mem:8192`.
    pub resources: Resources,
    /// What the agent is like, for constraints.
    pub attributes: BTreeMap<Arc<str>, Attribute>,
    /// The region and zone that it is in.
    pub domain: Option<Domain>,
    /// Where its devices come from.
    pub device_sources: Vec<DeviceSource>,
    /// How much of its cpus and memory is kept for the tenants of its devices, in thousandths, in equal parts for each of them.
    pub host_share_milli: u16,
    /// Presented to the master.
    pub token: Option<String>,
    /// Certificates (PEM) of the authorities that may have signed the master's; needed for `https`.
    pub tls_ca: Option<Vec<u8>>,
    /// The `rialto` binary, for `supervise` and for tasks.
    pub supervisor_exe: PathBuf,
    /// How tasks are kept apart.
    pub launcher: LauncherKind,
    /// Where cgroups are made, below the mount point of each hierarchy.
    pub cgroup_root: String,
    /// Which system calls contained tasks may make: a profile in Docker's JSON format. Without one, all.
    pub seccomp_profile: Option<String>,
    /// Which tasks have users of their own.
    pub user_namespaces: UserNamespaces,
    /// What runs tasks with an image.
    pub oci_runtime: OciRuntime,
    /// Where CNI plug-ins are, for networks of tasks on a bridge; where they usually are, if absent.
    pub cni_plugins: Option<PathBuf>,
    /// The addresses of those networks: `A.B.C.D/N`, the same for all agents of a machine.
    pub bridge_subnet: String,
    /// Where to show what tasks use, over HTTP without a password; nowhere, if absent.
    pub metrics_listen: Option<SocketAddr>,
    /// What may be fetched for tasks.
    pub fetch: FetchPolicy,
    /// What images may be like, and how much is kept of them.
    pub images: ImagePolicy,
    /// What becomes of the tasks when the agent is asked to stop.
    pub on_stop: OnStop,
    /// How long the sandbox of a task that has ended is kept.
    pub sandbox_retention: Duration,
    /// By how much the journal grows before it is written anew, in bytes, at least: 16 MiB, except in tests of that.
    pub compact_after_bytes: u64,
    /// How much longer each fsync of the journal takes than the disk needs: zero, except in benchmarks of slow disks.
    pub sync_delay: Duration,
}

impl Options {
    /// How long sandboxes are kept unless configured otherwise: a week.
    pub const SANDBOX_RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

    /// By how much the journal grows before it is written anew.
    pub const COMPACT_AFTER_BYTES: u64 = 16 << 20;

    /// The addresses of tasks on a bridge unless configured otherwise.
    pub const BRIDGE_SUBNET: &str = "10.213.0.0/16";

    /// An agent that keeps its state in `work_dir` and dials `master`; everything else as it is found.
    pub fn new(master: impl Into<String>, work_dir: impl Into<PathBuf>, supervisor_exe: impl Into<PathBuf>) -> Self {
        Self {
            master: master.into(),
            work_dir: work_dir.into(),
            name: crate::detect::host_name(),
            resources: Resources::new(),
            attributes: BTreeMap::new(),
            domain: None,
            device_sources: Vec::new(),
            host_share_milli: 0,
            token: None,
            tls_ca: None,
            supervisor_exe: supervisor_exe.into(),
            launcher: LauncherKind::Auto,
            cgroup_root: "rialto".to_owned(),
            seccomp_profile: None,
            user_namespaces: UserNamespaces::AsAsked,
            oci_runtime: OciRuntime::Own,
            cni_plugins: None,
            bridge_subnet: Self::BRIDGE_SUBNET.to_owned(),
            metrics_listen: None,
            fetch: FetchPolicy::default(),
            images: ImagePolicy::default(),
            on_stop: OnStop::KeepTasks,
            sandbox_retention: Self::SANDBOX_RETENTION,
            compact_after_bytes: Self::COMPACT_AFTER_BYTES,
            sync_delay: Duration::ZERO,
        }
    }
}

/// What images may be like, and how much is kept of them. Where they may come from is the [`FetchPolicy`]'s.
#[derive(Clone, Debug)]
pub struct ImagePolicy {
    /// The largest layer, in bytes; also as it is unpacked.
    pub max_bytes: u64,
    /// How much is kept of layers that no task uses, in bytes.
    pub cache_bytes: u64,
    /// Registries, `HOST` or `HOST:PORT`, that are asked without TLS; those on loopback are anyway.
    pub insecure: Vec<String>,
    /// As whom registries are asked, by `HOST` or `HOST:PORT`; these are asked with TLS unless they are named above, on loopback too.
    pub logins: BTreeMap<String, Login>,
}

impl Default for ImagePolicy {
    fn default() -> Self {
        Self { max_bytes: 16 << 30, cache_bytes: 32 << 30, insecure: Vec::new(), logins: BTreeMap::new() }
    }
}

/// How tasks are kept apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LauncherKind {
    /// With all that the kernel and this user allow; what is missing is said.
    #[default]
    Auto,
    /// With cgroups, namespaces and device control, or not at all.
    Linux,
    /// As plain processes.
    Process,
}

/// What becomes of the tasks when the agent is asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStop {
    /// They run on; the next agent of this work directory takes them over.
    KeepTasks,
    /// They are ended first, each within its grace period.
    EndTasks,
}
