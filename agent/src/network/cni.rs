//! Running installed CNI plug-ins: <https://www.cni.dev/docs/spec/>, version 0.4.0 of their language, which all of them speak.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rialto_proto::spec::Transport;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The version of the language.
const VERSION: &str = "0.4.0";
/// The bridge's name, and that of the network: agents of one machine share them, as they share the machine's ports.
const BRIDGE: &str = "rialto0";
const NETWORK: &str = "rialto";
/// What a plug-in calls its end of the wire.
const INTERFACE: &str = "eth0";
/// The most that is kept of what a plug-in says went wrong.
const MAX_WORDS: usize = 500;
/// What plug-ins find the machine's own tools with.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A port of the machine, and where it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mapped {
    pub(crate) host: u16,
    pub(crate) to: u16,
    pub(crate) udp: bool,
}

impl Mapped {
    pub(crate) fn transport(transport: Transport) -> bool {
        transport == Transport::Udp
    }
}

/// Where the plug-ins are, and what they are told.
#[derive(Clone, Debug)]
pub(super) struct Plugins {
    pub(super) folder: PathBuf,
    pub(super) subnet: String,
}

/// A wire between a network namespace and the machine.
pub(super) struct Wire<'a> {
    /// What plug-ins know it by.
    pub(super) id: &'a str,
    /// The file of the namespace.
    pub(super) namespace: &'a Path,
    pub(super) ports: &'a [Mapped],
}

/// Why a plug-in did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CniError {
    #[error("CNI plug-in {name}: {source}")]
    Io { name: &'static str, source: io::Error },
    #[error("CNI plug-in {name}: {message}")]
    Failed { name: &'static str, message: String },
}

impl Plugins {
    /// The plug-ins in their order, each with its configuration.
    fn list(&self, ports: &[Mapped]) -> Vec<(&'static str, Value)> {
        let bridge = json!({
            "cniVersion": VERSION, "name": NETWORK, "type": "bridge", "bridge": BRIDGE,
            "isGateway": true, "ipMasq": true, "hairpinMode": true,
            "ipam": { "type": "host-local", "ranges": [[{ "subnet": self.subnet }]], "routes": [{ "dst": "0.0.0.0/0" }] },
        });
        let mapping = |port: &Mapped| {
            let protocol = if port.udp { "udp" } else { "tcp" };
            json!({ "hostPort": port.host, "containerPort": port.to, "protocol": protocol })
        };
        let mappings: Vec<Value> = ports.iter().map(mapping).collect();
        let portmap = json!({
            "cniVersion": VERSION, "name": NETWORK, "type": "portmap", "snat": true,
            "capabilities": { "portMappings": true }, "runtimeConfig": { "portMappings": mappings },
        });
        vec![("bridge", bridge), ("portmap", portmap)]
    }

    /// Whether all that is needed is there.
    pub(super) fn missing(&self) -> Option<String> {
        let missing = ["bridge", "portmap", "host-local"].into_iter().find(|name| !self.folder.join(name).is_file());
        missing.map(|name| format!("{} has no plug-in {name}", self.folder.display()))
    }

    /// Lays the wire; what came of it, for [`Self::remove`].
    pub(super) fn add(&self, wire: &Wire<'_>) -> Result<Value, CniError> {
        let mut result = Value::Null;
        for (name, mut config) in self.list(wire.ports) {
            if !result.is_null() {
                config["prevResult"] = result;
            }
            result = self.call("ADD", name, &config, wire)?;
        }
        Ok(result)
    }

    /// Takes the wire away, also one that was laid in part or not at all.
    pub(super) fn remove(&self, wire: &Wire<'_>, result: &Value) -> Result<(), CniError> {
        let mut first = Ok(());
        for (name, mut config) in self.list(wire.ports).into_iter().rev() {
            if !result.is_null() {
                config["prevResult"] = result.clone();
            }
            // All are asked, whatever one of them says.
            let removed = self.call("DEL", name, &config, wire).map(drop);
            first = first.and(removed);
        }
        first
    }

    fn call(&self, command: &str, name: &'static str, config: &Value, wire: &Wire<'_>) -> Result<Value, CniError> {
        let failed = |source| CniError::Io { name, source };
        let mut child = Command::new(self.folder.join(name))
            .env_clear()
            .env("PATH", PATH)
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", wire.id)
            .env("CNI_NETNS", wire.namespace)
            .env("CNI_IFNAME", INTERFACE)
            .env("CNI_PATH", &self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let mut stdin = child.stdin.take().expect("it is a pipe");
        // One that ends without reading says why.
        let _unread = stdin.write_all(config.to_string().as_bytes());
        drop(stdin);
        let done = child.wait_with_output().map_err(failed)?;
        if done.status.success() {
            return Ok(serde_json::from_slice(&done.stdout).unwrap_or(Value::Null));
        }
        let said: Value = serde_json::from_slice(&done.stdout).unwrap_or(Value::Null);
        let words =
            said["msg"].as_str().map_or_else(|| String::from_utf8_lossy(&done.stderr).into_owned(), str::to_owned);
        let message = format!("{}: {}", done.status, words.chars().take(MAX_WORDS).collect::<String>().trim());
        Err(CniError::Failed { name, message })
    }
}
