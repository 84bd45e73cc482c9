//! Hooks of a device's specification, run for the task that holds it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rialto_agent::DeviceSource;
use rialto_core::model::{Reason, TaskState};
use rialto_proto::spec::TaskSpec;
use serde_json::json;

use crate::harness::{World, spec_task, task, until, with_devices};
use crate::image_kit::{Layout, busybox};

/// Notes when it was run and in what state, and makes a file in the container when that is made.
const SCRIPT: &str = r#"#!/bin/sh
state=$(cat)
field() { echo "$state" | sed "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/"; }
echo "$1 $(field status) $COLOUR" >> FOLDER/log
if [ "$1" = createContainer ]; then
    root=$(sed 's/.*"path":"\([^"]*\)".*/\1/' "$(field bundle)/config.json")
    [ "$root" = "/proc/$(field pid)/root" ] && echo "made for $2" > "$root/made"
fi
"#;
const MOMENTS: [&str; 5] = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];

fn describe(folder: &Path) -> DeviceSource {
    let script = folder.join("hook.sh");
    let text = SCRIPT.replace("FOLDER", &folder.display().to_string());
    std::fs::write(&script, text).expect("it can be written");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    let hook = |name: &str, path: &Path, args: &[&str]| json!({"hookName": name, "path": path, "args": args, "env": ["COLOUR=red", "PATH=/bin:/usr/bin"]});
    let mut hooks: Vec<_> = MOMENTS.iter().map(|name| hook(name, &script, &["hook.sh", name, "you"])).collect();
    hooks.push(hook("startContainer", Path::new("/bin/sh"), &["sh", "-c", "echo $COLOUR > /started"]));
    let slow = json!({"hookName": "createRuntime", "path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1});
    let bad = json!({"hookName": "createRuntime", "path": "/bin/false"});
    let device = |name: &str, hooks: serde_json::Value| json!({"name": name, "containerEdits": {"hooks": hooks, "env": [format!("NAME={name}")]}});
    let spec = json!({"cdiVersion": "0.6.0", "kind": "vendor.com/card", "devices": [
        device("good", json!(hooks)), device("slow", json!([slow])), device("bad", json!([bad]))]});
    std::fs::write(folder.join("spec.json"), spec.to_string()).expect("it can be written");
    DeviceSource::parse(&format!("cdi:vendor.com/card,folder={}", folder.display())).expect("it is well formed")
}

fn log(folder: &Path) -> Vec<String> {
    let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    log.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn hooks_run_at_their_moments_in_the_life_of_a_task_with_an_image() {
    let Some(base) = busybox() else { return };
    let mut layout = Layout::new();
    layout.add("v1", &[base], &json!({}));
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let (images, source) = (layout.path().to_owned(), describe(folder.path()));
    let change = |options: &mut rialto_agent::Options| {
        options.fetch.folders = vec![images];
        options.device_sources = vec![source];
    };
    let Some(mut world) = World::contained(change).await else { return };
    let mut spec = TaskSpec::shell("cat /made /started; echo $NAME");
    spec.container.image = Some(format!("oci:{}:v1", layout.path().display()));
    let mut held = with_devices(spec_task("t1", &spec), &["vendor.com/card=good"], "card");
    held.resources.add(&"mem:128".parse().expect("it is well formed"));
    world.launch(vec![held]).await;
    world.expect("t1", TaskState::Running).await;
    world.expect("t1", TaskState::Finished).await;
    assert_eq!(world.stdout("t1"), "made for you\nred\ngood\n");
    let all = until("the last hook", || Some(log(folder.path())).filter(|log| log.len() >= 5)).await;
    let states = ["creating", "creating", "creating", "running", "stopped"];
    let expected: Vec<String> = MOMENTS.iter().zip(states).map(|(name, state)| format!("{name} {state} red")).collect();
    assert_eq!(all, expected);
}

#[tokio::test]
async fn hooks_never_change_the_machines_own_files_and_a_failed_one_starts_nothing() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let source = describe(folder.path());
    let Some(mut world) = World::contained(|options| options.device_sources = vec![source]).await else { return };
    world.launch(vec![with_devices(task("t1", "true"), &["vendor.com/card=good"], "card")]).await;
    world.expect("t1", TaskState::Running).await;
    world.expect("t1", TaskState::Finished).await;
    let all = until("the last hook", || Some(log(folder.path())).filter(|log| log.len() >= 3)).await;
    assert_eq!(all, ["createRuntime creating red", "poststart running red", "poststop stopped red"]);
    assert!(!Path::new("/made").exists() && !Path::new("/started").exists());
    for (id, device, why) in
        [("t2", "slow", "hook /bin/sleep: it took too long"), ("t3", "bad", "hook /bin/false: it failed")]
    {
        world.launch(vec![with_devices(task(id, "true"), &[&format!("vendor.com/card={device}")], "card")]).await;
        let status = world.expect(id, TaskState::Failed).await;
        assert_eq!(status.reason, Some(Reason::LaunchFailed), "{status:?}");
        assert!(status.message.contains(why), "{}", status.message);
    }
    crate::contained::nothing_is_left(&world).await;
}
