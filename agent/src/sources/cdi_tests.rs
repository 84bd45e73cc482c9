use super::*;
use crate::sources::DeviceSource;

/// A folder with specifications, and the source that reads it.
struct World(tempfile::TempDir);

impl World {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).expect("it can be written");
    }

    fn look(&self, options: &str) -> Look {
        let text = format!("cdi:vendor.com/gpu,folder={}{options}", self.0.path().display());
        DeviceSource::parse(&text).expect("it is well formed").look()
    }

    fn ids(&self) -> Vec<String> {
        self.look("").found.iter().map(|found| found.device.id.to_string()).collect()
    }
}

const GOOD: &str = r#"{
    "cdiVersion": "0.6.0",
    "kind": "vendor.com/gpu",
    "containerEdits": {
        "env": ["COMMON=1"],
        "deviceNodes": [{"path": "/dev/full", "permissions": "rw"}],
        "mounts": [{"hostPath": "/etc/hostname", "containerPath": "/etc/hostname", "options": ["ro", "bind"]}],
        "hooks": [{"hookName": "createContainer", "path": "/bin/true", "args": ["true"], "timeout": 5}]
    },
    "devices": [
        {"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/null"}], "env": ["OWN=2"]}},
        {"name": "GPU-a", "containerEdits": {"deviceNodes": [{"path": "/dev/null"}], "env": ["OWN=a"]}},
        {"name": "GPU-b", "containerEdits": {"deviceNodes": [{"path": "/dev/zero"}]}},
        {"name": "all", "containerEdits": {"deviceNodes": [{"path": "/dev/null"}, {"path": "/dev/zero"}]}}
    ]
}"#;

#[test]
fn a_specification_gives_devices_with_what_comes_with_them() {
    let world = World::new();
    world.write("vendor.json", GOOD);
    let look = world.look("");
    assert_eq!(look.problems, [""; 0]);
    assert_eq!(world.ids(), ["vendor.com/gpu=GPU-a", "vendor.com/gpu=GPU-b"], "an index and all are other names");
    let first = &look.found[0];
    assert_eq!((&*first.device.kind, &*first.device.vendor), ("gpu", "vendor.com"));
    assert_eq!(first.device.nodes, ["/dev/null".into()], "its own nodes are watched");
    assert_eq!(first.added.env, [("COMMON".to_owned(), "1".to_owned()), ("OWN".to_owned(), "a".to_owned())]);
    let edits = &first.added.edits;
    assert_eq!(
        edits.nodes,
        [Node { path: "/dev/full".into(), from: "/dev/full".into() }],
        "common ones are everybody's"
    );
    assert!(!edits.mounts[0].writable);
    assert_eq!(world.look(",name=*-b").found.len(), 1);
}

#[test]
fn a_specification_may_be_yaml() {
    let world = World::new();
    let text = "cdiVersion: 0.5.0\nkind: vendor.com/gpu\ndevices:\n- name: one\n  containerEdits:\n    deviceNodes:\n    - path: /dev/zero\n      hostPath: /dev/null\n      major: 1\n";
    world.write("vendor.yaml", text);
    let look = world.look("");
    assert_eq!(look.problems, [""; 0]);
    assert!(look.found[0].device.nodes.is_empty());
    assert_eq!(look.found[0].added.edits.nodes, [Node { path: "/dev/zero".into(), from: "/dev/null".into() }]);
}

#[test]
fn a_specification_with_anything_wrong_in_it_is_left_out_and_says_what() {
    let cases = [
        ("{", "EOF"),
        (r#""cdiVersion": "0.6.0"|"cdiVersion": "9.0""#, "cdiVersion: expected one of 0.3.0"),
        (r#""kind": "vendor.com/gpu"|"kind": "gpu""#, "kind: expected VENDOR/CLASS"),
        (r#""devices"|"divices""#, "unknown field `divices`"),
        (r#""env": ["OWN=2"]|"env": ["OWN"]"#, "devices[0].containerEdits.env[0]: expected NAME=VALUE"),
        (r#""path": "/dev/full"|"path": "dev/full""#, "containerEdits.deviceNodes[0]: expected absolute paths"),
        (
            r#""path": "/dev/full"|"path": "/dev/../etc/shadow""#,
            "containerEdits.deviceNodes[0]: expected absolute paths",
        ),
        (r#""path": "/dev/full"|"path": "/etc/shadow""#, "lies below /dev"),
        (r#""containerPath": "/etc/hostname"|"containerPath": "../x""#, "containerEdits.mounts[0]: expected absolute"),
        (r#""options": ["ro", "bind"]|"type": "overlay""#, "containerEdits.mounts[0]: expected no type but bind"),
        (r#""hookName": "createContainer"|"hookName": "whenever""#, "containerEdits.hooks[0]: expected one of"),
        (r#""hookName": "createContainer"|"hookName": "poststop""#, "poststop is not done by this agent"),
        (r#""name": "0"|"name": "../0""#, "devices[0].name: expected letters"),
        (r#""env": ["COMMON=1"]|"intelRdt": {"closID": "x"}"#, "intelRdt: not done by this agent"),
        (r#""env": ["COMMON=1"]|"additionalGids": [0]"#, "additionalGids: not done by this agent"),
    ];
    for (change, why) in cases {
        let world = World::new();
        let text = change.split_once('|').map_or_else(|| change.to_owned(), |(from, to)| GOOD.replacen(from, to, 1));
        world.write("bad.json", &text);
        world.write("good.json", &GOOD.replace("GPU-", "OTHER-").replace("\"name\": \"0\"", "\"name\": \"1\""));
        let look = world.look("");
        let found = look.problems.iter().any(|problem| problem.contains("bad.json") && problem.contains(why));
        assert!(found, "{why}: {:?}", look.problems);
        assert!(!look.found.is_empty(), "the good one counts all the same");
    }
}

#[test]
fn a_device_that_two_files_describe_is_neithers_and_one_that_is_not_there_is_not_healthy() {
    let world = World::new();
    world.write("a.json", GOOD);
    world.write("b.json", GOOD);
    let look = world.look("");
    assert!(look.found.is_empty() && look.problems[0].contains("two files"), "{look:?}");
    let world = World::new();
    world.write("a.json", &GOOD.replace("/dev/zero", "/dev/not-there"));
    let gone = world.look("").found.into_iter().find(|found| found.device.id.as_str().ends_with("GPU-b"));
    assert_eq!(gone.expect("it is described").device.health, Health::Unhealthy);
}

#[test]
fn what_is_not_a_kind_says_what_was_expected() {
    for text in ["cdi:", "cdi:gpu", "cdi:/gpu", "cdi:vendor.com/", "cdi:a/b/c", "cdi:vendor.com/gpu,colour=x"] {
        let error = DeviceSource::parse(text).expect_err("it is none").to_string();
        assert!(error.contains("expected"), "{error}");
    }
}

#[test]
fn a_machine_without_the_library_has_no_gpus_and_says_so_in_one_line() {
    let source = DeviceSource::parse("nvml:library=/no/such/library.so").expect("it is well formed");
    let look = source.look();
    assert!(look.found.is_empty());
    assert_eq!(look.problems.len(), 1);
    let line = &look.problems[0];
    assert!(
        line.starts_with("NVML: no GPUs of NVIDIA, because the driver's library can't be used") && !line.contains('\n'),
        "{line}"
    );
    assert!(
        DeviceSource::parse("nvml:colour=x").expect_err("it is none").to_string().contains("expected mode or library")
    );
}
