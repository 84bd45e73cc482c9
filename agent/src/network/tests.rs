use std::os::unix::fs::PermissionsExt;

use rialto_proto::spec::{PortMapping, Transport};

use super::*;

/// Plug-ins that write down what they are asked, and fail if they find a file of their name and command.
fn plugins(folder: &Path) -> Plugins {
    let script = "#!/bin/sh\nname=$(basename \"$0\")\nconfig=$(cat)\n\
                  printf '%s %s %s %s\\n' \"$name\" \"$CNI_COMMAND\" \"$CNI_CONTAINERID\" \"$config\" >> \"$CNI_PATH/calls\"\n\
                  if [ -e \"$CNI_PATH/$name-$CNI_COMMAND-fails\" ]; then echo '{\"code\":7,\"msg\":\"no more room\"}'; exit 1; fi\n\
                  echo \"{\\\"cniVersion\\\":\\\"0.4.0\\\",\\\"from\\\":\\\"$name\\\"}\"\n";
    for name in ["bridge", "portmap", "host-local"] {
        let path = folder.join(name);
        fs::write(&path, script).expect("it can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    Plugins { folder: folder.to_owned(), subnet: "10.0.0.0/24".to_owned() }
}

fn calls(folder: &Path) -> Vec<String> {
    fs::read_to_string(folder.join("calls")).unwrap_or_default().lines().map(str::to_owned).collect()
}

const PORTS: [Mapped; 1] = [Mapped { host: 31000, to: 80, udp: false }];

fn wire() -> Wire<'static> {
    Wire { id: "k-F1-1.a", namespace: Path::new("/run/none"), ports: &PORTS }
}

#[test]
fn plug_ins_are_asked_in_order_and_told_what_came_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let plugins = plugins(folder.path());
    let result = plugins.add(&wire()).expect("they are willing");
    assert_eq!(result["from"], "portmap");
    plugins.remove(&wire(), &result).expect("they are willing");
    let calls = calls(folder.path());
    let starts: Vec<&str> = calls.iter().map(|call| call.split(" {").next().expect("there is a beginning")).collect();
    assert_eq!(starts, ["bridge ADD k-F1-1.a", "portmap ADD k-F1-1.a", "portmap DEL k-F1-1.a", "bridge DEL k-F1-1.a"]);
    assert!(calls[0].contains("10.0.0.0/24") && !calls[0].contains("prevResult"), "{}", calls[0]);
    assert!(calls[1].contains("\"prevResult\":{\"cniVersion\":\"0.4.0\",\"from\":\"bridge\"}"), "{}", calls[1]);
    assert!(calls[1].contains("\"hostPort\":31000") && calls[1].contains("\"protocol\":\"tcp\""), "{}", calls[1]);
    assert!(calls[2].contains("\"from\":\"portmap\""), "{}", calls[2]);
}

#[test]
fn one_that_fails_says_why_and_the_others_are_asked_to_clean_up_all_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let plugins = plugins(folder.path());
    fs::write(folder.path().join("portmap-ADD-fails"), "").expect("it can be written");
    fs::write(folder.path().join("portmap-DEL-fails"), "").expect("it can be written");
    let failed = plugins.add(&wire()).expect_err("it fails").to_string();
    assert!(failed.starts_with("CNI plug-in portmap: ") && failed.contains("no more room"), "{failed}");
    assert!(plugins.remove(&wire(), &Value::Null).is_err());
    assert!(calls(folder.path()).last().is_some_and(|call| call.starts_with("bridge DEL")));
}

#[test]
fn without_plug_ins_a_task_is_told_what_is_missing() {
    let folder = tempfile::tempdir().expect("a folder");
    let networks = Networks::of(folder.path(), Some(folder.path()), "10.0.0.0/24");
    let leader = TaskKey::new("F1-1".parse().expect("an id"), "a".parse().expect("an id"));
    let refused = networks.lay(&leader, Vec::new()).expect_err("there are none");
    assert!(refused.contains("has no plug-in bridge"), "{refused}");
}

#[test]
fn only_ports_that_the_task_holds_lead_into_it() {
    let port = |port_index| PortMapping { port_index, to: 80, transport: Transport::Udp };
    let mapped = |ports: Vec<PortMapping>| Networks::mapped(&Bridge { ports }, &[31000, 31007]);
    let expected = |host| Mapped { host, to: 80, udp: true };
    assert_eq!(mapped(vec![port(1), port(0)]), Ok(vec![expected(31007), expected(31000)]));
    assert!(mapped(vec![port(2)]).is_err_and(|error| error.starts_with("bridge: port_index: expected less than 2")));
}
