use rialto_core::model::{FrameworkId, TaskId};
use rialto_proto::spec::{CommandSpec, TaskSpec};

use super::*;

struct Setting {
    secrets: Secrets,
    task: TaskKey,
    sandbox: tempfile::TempDir,
    _work_dir: tempfile::TempDir,
}

impl Setting {
    fn new() -> Self {
        let work_dir = tempfile::tempdir().expect("a folder");
        let framework: FrameworkId = "F1-1".parse().expect("an id");
        let task = TaskKey::new(framework, TaskId::new("a").expect("an id"));
        let secrets = Secrets::of(work_dir.path());
        Self { secrets, task, sandbox: tempfile::tempdir().expect("a folder"), _work_dir: work_dir }
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        remove(&self.secrets.folder);
    }
}

fn secret(target: &str) -> Secret {
    Secret { name: "key".to_owned(), target: target.to_owned(), content: b"hush".to_vec().into() }
}

fn wire(secret: &Secret) -> v1::Secret {
    v1::Secret { name: secret.name.clone(), target: secret.target.clone(), content: secret.content.clone() }
}

#[test]
fn a_linked_secret_is_read_at_both_of_its_places_and_goes_with_its_task() {
    let setting = Setting::new();
    let secret = secret("etc/app/key.pem");
    setting.secrets.keep(&setting.task, &[wire(&secret)]).expect("there is memory");
    let mount = setting.secrets.give(&setting.task, &[secret], setting.sandbox.path(), None, false);
    assert_eq!(mount, Ok(None));
    for path in ["secrets/key", "etc/app/key.pem"] {
        assert_eq!(fs::read(setting.sandbox.path().join(path)).expect("it is there"), b"hush", "{path}");
    }
    let file = fs::metadata(setting.sandbox.path().join("secrets/key")).expect("it is there");
    assert_eq!(file.mode() & 0o777, 0o400);
    setting.secrets.remove(&setting.task);
    assert!(!setting.sandbox.path().join("secrets/key").exists());
}

#[test]
fn with_namespaces_it_is_mounted_read_only() {
    let setting = Setting::new();
    setting.secrets.keep(&setting.task, &[wire(&secret(""))]).expect("there is memory");
    let mount = setting.secrets.give(&setting.task, &[secret("")], setting.sandbox.path(), None, true);
    let mount = mount.expect("it is kept").expect("there is something to mount");
    assert!(!mount.writable && mount.from.starts_with(MEMORY) && mount.to.is_dir());
}

#[test]
fn a_target_through_a_link_is_refused_and_a_lost_secret_is_said() {
    let setting = Setting::new();
    let outside = tempfile::tempdir().expect("a folder");
    symlink(outside.path(), setting.sandbox.path().join("etc")).expect("it can be made");
    setting.secrets.keep(&setting.task, &[wire(&secret("etc/key"))]).expect("there is memory");
    let given = setting.secrets.give(&setting.task, &[secret("etc/key")], setting.sandbox.path(), None, false);
    assert!(given.is_err_and(|error| error.starts_with("secret key: target: ")));
    assert_eq!(fs::read_dir(outside.path()).expect("it is there").count(), 0);

    let lost = Setting::new();
    let given = lost.secrets.give(&lost.task, &[secret("")], lost.sandbox.path(), None, false);
    assert!(given.is_err_and(|error| error.starts_with("secret key: ")));
}

#[test]
fn what_is_kept_elsewhere_is_not_in_the_description_nor_in_its_debug_text() {
    let setting = Setting::new();
    let spec = TaskSpec { secrets: vec![secret("")], ..TaskSpec::new(CommandSpec::Shell("true".to_owned())) };
    assert!(!format!("{spec:?}").contains("hush") && !format!("{:?}", wire(&secret(""))).contains("hush"));
    let mut wire = v1::TaskSpec::decode(spec.to_body().as_bytes()).expect("it was just encoded");
    setting.secrets.keep(&setting.task, &wire.secrets).expect("there is memory");
    wire.secrets[0].content = bytes::Bytes::new();
    let left = TaskSpec::from_body(&Body::new(wire.encode_to_vec())).expect("it is one");
    assert!(left.secrets[0].content.is_empty() && left.secrets[0].name == "key");
}

#[test]
fn names_that_lead_elsewhere_are_not_kept() {
    let setting = Setting::new();
    for name in ["../x", "", ".hidden", "a/b"] {
        let bad = v1::Secret { name: name.to_owned(), ..v1::Secret::default() };
        assert!(setting.secrets.keep(&setting.task, &[bad]).is_err(), "{name:?}");
    }
}
