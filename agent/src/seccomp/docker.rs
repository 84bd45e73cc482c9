//! From Docker's format to programs.

use std::collections::{BTreeMap, BTreeSet};
use std::env::consts::ARCH;

use seccompiler::{BpfProgram, TargetArch, compile_from_json};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ProfileError;

/// Capabilities that tasks have, for rules that depend on them.
pub(crate) const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];
const EPERM: u32 = 1;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Profile {
    pub(super) default_action: String,
    pub(super) default_errno_ret: Option<u32>,
    #[serde(default)]
    pub(super) syscalls: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rule {
    #[serde(default)]
    names: Vec<String>,
    /// Of profiles from before there were names.
    name: Option<String>,
    action: String,
    errno_ret: Option<u32>,
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Filter,
    #[serde(default)]
    excludes: Filter,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
    min_kernel: Option<String>,
}

/// The conditions under which a call gets an answer: any of these, each of which is several at once. None: always.
type Conditions = Vec<Vec<Value>>;

/// The programs for a profile, for this machine. Names of calls that this architecture does not have are passed over, as in Docker.
///
/// # Errors
/// It is no profile, or asks for what can't be done.
pub(crate) fn compile(text: &str) -> Result<Vec<BpfProgram>, ProfileError> {
    let profile: Profile = serde_json::from_str(text).map_err(|error| ProfileError::Json(error.to_string()))?;
    let target = TargetArch::try_from(ARCH).map_err(|_| ProfileError::Architecture(ARCH))?;
    let default = action("defaultAction", &profile.default_action, profile.default_errno_ret)?;
    let mut answers: BTreeMap<String, (Value, BTreeMap<String, Conditions>)> = BTreeMap::new();
    for (index, rule) in profile.syscalls.iter().enumerate() {
        let answer = action(&format!("syscalls[{index}].action"), &rule.action, rule.errno_ret)?;
        if answer == default || !rule.applies() {
            continue;
        }
        let conditions = rule.conditions(index)?;
        let (_, calls) = answers.entry(answer.to_string()).or_insert_with(|| (answer, BTreeMap::new()));
        for name in rule.names.iter().chain(&rule.name).filter(|name| is_known(name, target)) {
            add(calls, name, &conditions);
        }
    }
    let is_allowed = default == "allow";
    let others: BTreeSet<String> = answers.values().flat_map(|(_, calls)| calls.keys().cloned()).collect();
    let mut programs = Vec::new();
    if !is_allowed {
        // What has another answer is decided by the other programs; to this one it is allowed.
        let allowed = answers.remove(&json!("allow").to_string()).map(|(_, calls)| calls).unwrap_or_default();
        let refused = others.iter().filter(|name| !allowed.contains_key(*name));
        let rules: Vec<Value> = allowed
            .iter()
            .flat_map(|(name, any)| rules(name, any))
            .chain(refused.map(|name| json!({"syscall": name})))
            .collect();
        programs.push(program(&default, &json!("allow"), &rules, target)?);
    }
    for (answer, calls) in answers.into_values().filter(|(_, calls)| !calls.is_empty()) {
        let rules: Vec<Value> = calls.iter().flat_map(|(name, any)| rules(name, any)).collect();
        programs.push(program(&json!("allow"), &answer, &rules, target)?);
    }
    Ok(programs)
}

impl Rule {
    /// Whether it is meant for this machine, and for what tasks may do.
    pub(super) fn applies(&self) -> bool {
        let has = |wanted: &String| CAPABILITIES.contains(&&**wanted);
        let arch = |wanted: &String| {
            let docker = match ARCH {
                "x86_64" => "amd64",
                "aarch64" => "arm64",
                other => other,
            };
            wanted == docker
        };
        let kernel = self.includes.min_kernel.as_deref().is_none_or(is_at_least);
        let included = self.includes.caps.iter().all(has)
            && (self.includes.arches.is_empty() || self.includes.arches.iter().any(arch));
        let excluded = self.excludes.caps.iter().any(has) || self.excludes.arches.iter().any(arch);
        kernel && included && !excluded
    }

    fn conditions(&self, index: usize) -> Result<Conditions, ProfileError> {
        let arguments = self.args.as_deref().unwrap_or_default();
        let at = |number: usize| format!("syscalls[{index}].args[{number}].op");
        let conditions = arguments.iter().enumerate().map(|(number, argument)| argument.condition(&at(number)));
        let conditions = conditions.collect::<Result<Vec<Value>, _>>()?;
        let indexes: BTreeSet<u8> = arguments.iter().map(|argument| argument.index).collect();
        // As runc has it: conditions on one argument are alternatives, on several they hold together.
        Ok(match conditions.is_empty() {
            true => Vec::new(),
            false if indexes.len() < arguments.len() => {
                conditions.into_iter().map(|condition| vec![condition]).collect()
            }
            false => vec![conditions],
        })
    }
}

impl Argument {
    fn condition(&self, field: &str) -> Result<Value, ProfileError> {
        let (op, value) = match &*self.op {
            "SCMP_CMP_NE" => (json!("ne"), self.value),
            "SCMP_CMP_LT" => (json!("lt"), self.value),
            "SCMP_CMP_LE" => (json!("le"), self.value),
            "SCMP_CMP_EQ" => (json!("eq"), self.value),
            "SCMP_CMP_GE" => (json!("ge"), self.value),
            "SCMP_CMP_GT" => (json!("gt"), self.value),
            "SCMP_CMP_MASKED_EQ" => (json!({"masked_eq": self.value}), self.value_two),
            other => return Err(unexpected(field, "SCMP_CMP_EQ or another comparison", other)),
        };
        Ok(json!({"index": self.index, "type": "qword", "op": op, "val": value}))
    }
}

/// A rule without conditions makes those of other rules moot.
fn add(calls: &mut BTreeMap<String, Conditions>, name: &str, conditions: &Conditions) {
    match calls.get_mut(name) {
        Some(known) if known.is_empty() => {}
        Some(known) if conditions.is_empty() => known.clear(),
        Some(known) => known.extend(conditions.iter().cloned()),
        None => {
            calls.insert(name.to_owned(), conditions.clone());
        }
    }
}

fn rules(name: &str, any: &Conditions) -> Vec<Value> {
    if any.is_empty() {
        return vec![json!({"syscall": name})];
    }
    any.iter().map(|all| json!({"syscall": name, "args": all})).collect()
}

fn program(
    mismatch: &Value,
    matching: &Value,
    rules: &[Value],
    target: TargetArch,
) -> Result<BpfProgram, ProfileError> {
    let text = json!({"main": {"mismatch_action": mismatch, "match_action": matching, "filter": rules}}).to_string();
    let mut programs =
        compile_from_json(text.as_bytes(), target).map_err(|error| ProfileError::Compile(error.to_string()))?;
    Ok(programs.remove("main").expect("it is the one that was given"))
}

fn is_known(name: &str, target: TargetArch) -> bool {
    program(&json!("allow"), &json!("log"), &[json!({"syscall": name})], target).is_ok()
}

fn action(field: &str, name: &str, errno: Option<u32>) -> Result<Value, ProfileError> {
    Ok(match name {
        "SCMP_ACT_ALLOW" => json!("allow"),
        "SCMP_ACT_ERRNO" => json!({"errno": errno.unwrap_or(EPERM)}),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => json!("kill_thread"),
        "SCMP_ACT_KILL_PROCESS" => json!("kill_process"),
        "SCMP_ACT_LOG" => json!("log"),
        "SCMP_ACT_TRAP" => json!("trap"),
        "SCMP_ACT_TRACE" => json!({"trace": errno.unwrap_or(EPERM)}),
        other => return Err(unexpected(field, "SCMP_ACT_ALLOW or another action", other)),
    })
}

fn unexpected(field: &str, expected: &str, found: &str) -> ProfileError {
    ProfileError::Field { field: field.to_owned(), expected: format!("expected {expected}, got {found:?}") }
}

/// Whether this kernel is of `version` or later.
fn is_at_least(version: &str) -> bool {
    let numbers =
        |text: &str| -> Vec<u32> { text.split(['.', '-']).map_while(|part| part.parse().ok()).take(2).collect() };
    numbers(&rustix::system::uname().release().to_string_lossy()) >= numbers(version)
}
