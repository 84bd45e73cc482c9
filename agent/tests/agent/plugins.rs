//! Devices of plug-ins, and of specifications.

use rialto_core::model::{DeviceReport, DeviceState, FromAgent, Health, Reason, TaskState};

use rialto_proto::logs::{BulkRequest, Follow, LogFile, OpenBulk, ReadLog, Start};
use rialto_proto::v1::bulk_up::Message;

use crate::fake_plugin::{FakePlugin, Fault, device, source};
use crate::harness::{World, key, task, until, with_devices, within};

async fn world(plugin: &FakePlugin) -> World {
    World::with_sources(&[&source(&plugin.socket())]).await
}

/// Waits until the agent says this of a device.
async fn hears(world: &mut World, id: &str, is_so: impl Fn(&DeviceReport) -> bool) {
    let told = |message: &FromAgent| match message {
        FromAgent::Devices(devices) => {
            devices.iter().any(|found| found.device.id.as_str() == id && is_so(found)).then_some(())
        }
        _ => None,
    };
    world.hear(&format!("news of {id}"), told).await;
}

fn is_quarantined(found: &DeviceReport, why: &str) -> bool {
    matches!(&found.state, DeviceState::Quarantined { reason } if reason.contains(why))
}

async fn runs_and_ends(world: &mut World, id: &str, on: &str) {
    world.launch(vec![with_devices(task(id, "echo $DONGLE"), &[on], "dongle")]).await;
    world.expect(id, TaskState::Running).await;
    world.expect(id, TaskState::Finished).await;
}

#[tokio::test]
async fn a_device_of_a_plug_in_is_prepared_released_and_tested() {
    let plugin = FakePlugin::new(&["d1", "d2"]);
    let mut world = world(&plugin).await;
    runs_and_ends(&mut world, "t1", "d2").await;
    assert_eq!(world.stdout("t1"), "d2\n");
    let free = |message: &FromAgent| matches!(message, FromAgent::DevicesFree(_)).then_some(());
    world.hear("a free device", free).await;
    assert_eq!(plugin.calls(), [format!("prepare {} d2", key("t1")), "release d2 1".to_owned(), "test d2".to_owned()]);
    runs_and_ends(&mut world, "t2", "d2").await;
}

#[tokio::test]
async fn a_plug_in_that_can_not_prepare_a_device_fails_the_launch_and_not_the_user() {
    for (fault, why) in [(Fault::Refuse, "it is stuck"), (Fault::Nonsense, "expected a name and a value")] {
        let plugin = FakePlugin::new(&["d1"]);
        plugin.at_prepare(fault);
        let mut world = world(&plugin).await;
        world.launch(vec![with_devices(task("t1", "touch started"), &["d1"], "dongle")]).await;
        let status = world.expect("t1", TaskState::Failed).await;
        assert_eq!(status.reason, Some(Reason::LaunchFailed));
        assert!(
            status.message.contains("can't get a device ready") && status.message.contains(why),
            "{}",
            status.message
        );
        assert!(!world.sandbox("t1").join("started").exists());
    }
}

#[tokio::test]
async fn a_device_that_its_plug_in_can_not_clean_or_that_fails_its_test_is_quarantined() {
    let plugin = FakePlugin::new(&["d1", "d2"]);
    plugin.at_release(Fault::Refuse);
    let mut world = world(&plugin).await;
    runs_and_ends(&mut world, "t1", "d1").await;
    hears(&mut world, "d1", |found| is_quarantined(found, "can't clean the device: it is stuck")).await;
    plugin.at_self_test(Fault::Nonsense);
    runs_and_ends(&mut world, "t2", "d2").await;
    hears(&mut world, "d2", |found| is_quarantined(found, "the device is not in order: it smells")).await;
}

#[tokio::test]
async fn a_plug_in_that_hangs_hangs_nothing_else() {
    let plugin = FakePlugin::new(&["d1"]);
    plugin.at_prepare(Fault::Hang);
    let mut world = world(&plugin).await;
    world.launch(vec![with_devices(task("t1", "true"), &["d1"], "dongle")]).await;
    world.launch(vec![task("t2", "echo hello")]).await;
    world.expect("t2", TaskState::Running).await;
    world.expect("t2", TaskState::Finished).await;
    world.kill("t1").await;
    world.expect("t1", TaskState::Killed).await;
}

#[tokio::test]
async fn devices_come_and_go_as_the_plug_in_says() {
    let plugin = FakePlugin::new(&["d1"]);
    let mut world = world(&plugin).await;
    plugin.says(vec![device("d1"), device("d3")]);
    hears(&mut world, "d3", |found| found.device.health == Health::Healthy).await;
    plugin.says(vec![device("d3")]);
    let gone = |message: &FromAgent| match message {
        FromAgent::Devices(devices) => {
            let usable = |found: &DeviceReport| found.device.id.as_str() == "d1" && found.device.health.is_usable();
            (!devices.iter().any(usable)).then_some(())
        }
        _ => None,
    };
    world.hear("that d1 can't be used", gone).await;
    // One id twice: such a list is not taken, the next one is.
    plugin.says(vec![device("d4"), device("d4")]);
    plugin.says(vec![device("d3"), device("d5")]);
    hears(&mut world, "d5", |found| found.device.health == Health::Healthy).await;
}

#[tokio::test]
async fn a_plug_in_that_dies_and_comes_back_is_found_again() {
    let mut plugin = FakePlugin::new(&["d1"]);
    let mut world = world(&plugin).await;
    plugin.stop();
    plugin.start();
    plugin.says(vec![device("d1"), device("d6")]);
    hears(&mut world, "d6", |found| found.device.health == Health::Healthy).await;
    runs_and_ends(&mut world, "t1", "d1").await;
}

/// A line of what a task uses.
async fn usage(world: &mut World, id: &str) -> serde_json::Value {
    let read =
        ReadLog { task: key(id), file: LogFile::Usage, start: Start::Offset(0), follow: Follow::No, limit: None };
    let mut bulk = world.open(&OpenBulk { stream_id: 42, request: BulkRequest::ReadLog(read) }).await;
    let message = within("a line", bulk.from.message()).await.expect("it is sent").expect("it is not the end");
    let Some(Message::Chunk(chunk)) = message.message else { panic!("expected figures, got {message:?}") };
    serde_json::from_slice(&chunk.data).expect("it is JSON")
}

#[tokio::test]
async fn how_much_a_device_does_is_told_to_who_looks_at_its_holder() {
    let plugin = FakePlugin::new(&["d1", "d2"]);
    // It refuses, tells nonsense, and hangs; none of which a task waits for.
    for fault in [Fault::Refuse, Fault::Nonsense, Fault::Hang] {
        plugin.at_stats(fault);
    }
    let sources = [&source(&plugin.socket())].map(|text| rialto_agent::DeviceSource::parse(text).expect("well formed"));
    let Some(mut world) = World::contained(|options| options.device_sources = sources.to_vec()).await else { return };
    for id in ["t1", "t2"] {
        runs_and_ends(&mut world, id, "d2").await;
        let free = |message: &FromAgent| matches!(message, FromAgent::DevicesFree(_)).then_some(());
        world.hear("a free device", free).await;
    }
    world.launch(vec![with_devices(task("t3", "exec sleep 1000"), &["d1"], "dongle")]).await;
    world.expect("t3", TaskState::Running).await;
    assert!(plugin.stats_calls() < 4, "tasks have run while it told nothing");
    assert_eq!(usage(&mut world, "t3").await.get("devices"), None, "what is not known is not told");
    until("it to be asked a fourth time", || (plugin.stats_calls() >= 4).then_some(())).await;
    let told = loop {
        let told = usage(&mut world, "t3").await;
        if told.get("devices").is_some() {
            break told;
        }
    };
    assert_eq!(told["devices"], serde_json::json!({"d1": {"busy_percent": 42.0}}), "its own, and no others");
    plugin.at_stats(Fault::Nonsense);
    let asked = plugin.stats_calls();
    until("it to be asked twice more", || (plugin.stats_calls() >= asked + 2).then_some(())).await;
    world.kill("t3").await;
    world.expect("t3", TaskState::Killed).await;
}

#[tokio::test]
async fn what_a_specification_adds_is_seen_by_the_holder_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("secret"), "the licence\n").expect("it can be written");
    std::fs::write(folder.path().join("place"), "").expect("it can be written");
    let spec = r#"{"cdiVersion": "0.6.0", "kind": "vendor.com/dongle", "devices": [{"name": "one", "containerEdits": {
        "env": ["LICENCE=FOLDER/place"],
        "deviceNodes": [{"path": "/dev/dongle0", "hostPath": "/dev/fuse"}],
        "mounts": [{"hostPath": "FOLDER/secret", "containerPath": "FOLDER/place", "options": ["ro"]}]}}]}"#;
    // Not below /tmp: a contained task has its own.
    let shown = tempfile::tempdir_in("/var/lib").expect("a folder that tasks see");
    for name in ["secret", "place"] {
        std::fs::copy(folder.path().join(name), shown.path().join(name)).expect("it can be copied");
    }
    let spec = spec.replace("FOLDER", &shown.path().display().to_string());
    std::fs::write(folder.path().join("spec.json"), spec).expect("it can be written");
    if !std::path::Path::new("/dev/fuse").exists() {
        return println!("skipped: no /dev/fuse to show under another name");
    }
    let text = format!("cdi:vendor.com/dongle,folder={}", folder.path().display());
    let source = rialto_agent::DeviceSource::parse(&text).expect("it is well formed");
    let Some(mut world) = World::contained(|options| options.device_sources = vec![source]).await else { return };
    let tries = format!(
        "cat $LICENCE; (echo evil > $LICENCE) 2> /dev/null; ls /dev | grep dongle; (: < /dev/dongle0) && echo opened; cat {}/place; true",
        shown.path().display()
    );
    world.launch(vec![with_devices(task("t1", &tries), &["vendor.com/dongle=one"], "dongle")]).await;
    world.expect("t1", TaskState::Running).await;
    world.expect("t1", TaskState::Finished).await;
    assert_eq!(world.stdout("t1"), "the licence\ndongle0\nopened\nthe licence\n");
    world.launch(vec![task("t2", &tries.replace("cat $LICENCE;", ""))]).await;
    world.expect("t2", TaskState::Running).await;
    world.expect("t2", TaskState::Finished).await;
    assert_eq!(world.stdout("t2"), "");
}
