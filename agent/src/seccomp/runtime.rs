//! From Docker's format to that of the OCI runtime specification, for runtimes that make the programs themselves.

use serde_json::{Map, Value, json};

use super::ProfileError;
use super::docker::Profile;

/// What a rule has in both formats.
const FIELDS: [&str; 4] = ["names", "action", "errnoRet", "args"];

/// `linux.seccomp` of a runtime's configuration: the rules that apply on this machine to what tasks may do.
///
/// # Errors
/// It is no profile.
pub(crate) fn translate(text: &str) -> Result<Value, ProfileError> {
    let no_json = |error: serde_json::Error| ProfileError::Json(error.to_string());
    let profile: Profile = serde_json::from_str(text).map_err(no_json)?;
    let value: Value = serde_json::from_str(text).map_err(no_json)?;
    let rules = value["syscalls"].as_array().map(Vec::as_slice).unwrap_or_default();
    let applicable = rules.iter().zip(&profile.syscalls).filter(|(_, rule)| rule.applies());
    let mut seccomp = json!({"defaultAction": profile.default_action, "architectures": architectures(&value)});
    if let Some(errno) = profile.default_errno_ret {
        seccomp["defaultErrnoRet"] = errno.into();
    }
    seccomp["syscalls"] = applicable.map(|(rule, _)| translated(rule)).collect();
    Ok(seccomp)
}

fn translated(rule: &Value) -> Value {
    let given = FIELDS.iter().filter_map(|field| Some(((*field).to_owned(), rule.get(field)?.clone())));
    let mut fields: Map<String, Value> = given.filter(|(_, value)| !value.is_null()).collect();
    if let Some(name) = rule.get("name").filter(|name| name.is_string()) {
        // Of profiles from before there were names.
        fields.insert("names".to_owned(), json!([name]));
    }
    Value::Object(fields)
}

/// Those of this machine's processor, with the older ones that it also runs.
fn architectures(profile: &Value) -> Value {
    let own = match std::env::consts::ARCH {
        "x86_64" => "SCMP_ARCH_X86_64",
        "aarch64" => "SCMP_ARCH_AARCH64",
        _ => "SCMP_ARCH_RISCV64",
    };
    let maps = profile["archMap"].as_array().map(Vec::as_slice).unwrap_or_default();
    let map = maps.iter().find(|map| map["architecture"] == own);
    let others = map.and_then(|map| map["subArchitectures"].as_array()).cloned().unwrap_or_default();
    std::iter::once(json!(own)).chain(others).collect()
}
