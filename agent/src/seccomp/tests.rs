use super::*;

const PROFILE: &str = r#"{
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 1,
    "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
    "syscalls": [
        {"names": ["read", "write", "no_such_call"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}]},
        {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
         "args": [{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
         "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
        {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "99.0"}},
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}
    ]
}"#;

#[test]
fn a_profile_becomes_a_program_for_each_answer() {
    let programs = compile(PROFILE).expect("it is well formed");
    assert_eq!(programs.len(), 2);
    assert_eq!(decode(&encode(&programs)), Some(programs.clone()));
    assert_eq!(decode(&encode(&programs)[1..]), None);
}

#[test]
fn a_profile_that_allows_by_default_has_no_list_of_what_is_allowed() {
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"name": "swapon", "action": "SCMP_ACT_KILL"}]}"#;
    assert_eq!(compile(profile).expect("it is well formed").len(), 1);
    assert_eq!(compile(r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#), Ok(Vec::new()));
}

#[test]
fn a_bad_profile_names_the_field() {
    let message = |text: &str| compile(text).expect_err("it is no profile").to_string();
    assert!(message("{}").contains("defaultAction"), "{}", message("{}"));
    let action = r#"{"defaultAction": "ALLOW"}"#;
    assert_eq!(message(action), "defaultAction: expected SCMP_ACT_ALLOW or another action, got \"ALLOW\"");
    let op = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["kill"], "action": "SCMP_ACT_LOG",
        "args": [{"index": 0, "value": 0, "op": "EQ"}]}]}"#;
    assert!(message(op).starts_with("syscalls[0].args[0].op: "), "{}", message(op));
}

#[test]
fn a_runtime_gets_the_rules_that_apply_here() {
    let seccomp = translate(PROFILE).expect("it is well formed");
    assert_eq!(seccomp["defaultAction"], "SCMP_ACT_ERRNO");
    if std::env::consts::ARCH == "x86_64" {
        assert_eq!(seccomp["architectures"], serde_json::json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]));
    }
    let rules = seccomp["syscalls"].as_array().expect("they are a list");
    let first: Vec<&str> = rules.iter().filter_map(|rule| rule["names"][0].as_str()).collect();
    assert_eq!(
        first,
        ["read", "personality", "clone", "ptrace", "clone3"],
        "mount and bpf are not for tasks, or not yet"
    );
    assert_eq!(rules[2].get("excludes"), None);
    assert_eq!(rules[4]["errnoRet"], 38);
}
