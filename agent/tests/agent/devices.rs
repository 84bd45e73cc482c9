use rialto_core::model::{DeviceId, DeviceState, FromAgent, Reason, TaskState};

use crate::harness::{World, task, with_devices};

#[tokio::test]
async fn a_task_is_shown_its_device_and_the_next_gets_it_after_cleaning() {
    let mut world = World::with_sources(&["fake:gpu,model=G2,count=2"]).await;
    world
        .launch(vec![with_devices(task("t1", "echo $RIALTO_DEVICES $CUDA_VISIBLE_DEVICES"), &["gpu-G2-1"], "gpu")])
        .await;
    world.expect("t1", TaskState::Running).await;
    world.expect("t1", TaskState::Finished).await;
    assert_eq!(world.stdout("t1"), "gpu-G2-1 gpu-G2-1\n");
    let free = |message: &FromAgent| match message {
        FromAgent::DevicesFree(devices) => Some(devices.clone()),
        _ => None,
    };
    assert_eq!(world.hear("a free device", free).await, [(DeviceId::new("gpu-G2-1"), 1)]);
    world.launch(vec![with_devices(task("t2", "true"), &["gpu-G2-1"], "gpu")]).await;
    world.expect("t2", TaskState::Running).await;
}

#[tokio::test]
async fn a_held_device_is_not_given_out_also_after_a_crash() {
    let mut world = World::with_sources(&["fake:gpu,model=G2"]).await;
    world.launch(vec![with_devices(task("t1", "sleep 1000"), &["gpu-G2-0"], "gpu")]).await;
    world.expect("t1", TaskState::Running).await;
    world.crash().await;
    let report = world.restart().await;
    assert!(matches!(report.devices[0].state, DeviceState::Allocated(_)), "{:?}", report.devices);
    world.launch(vec![with_devices(task("t2", "true"), &["gpu-G2-0"], "gpu")]).await;
    assert_eq!(world.expect("t2", TaskState::Dropped).await.reason, Some(Reason::DeviceUnavailable));
}

#[tokio::test]
async fn a_device_node_is_shown_and_free_again_once_nobody_has_it_open() {
    let mut world = World::with_sources(&["glob:/dev/full,kind=sink"]).await;
    world
        .launch(vec![with_devices(
            task("t1", "exec 3<$RIALTO_DEVICE_NODES; echo $RIALTO_DEVICE_NODES"),
            &["full"],
            "sink",
        )])
        .await;
    world.expect("t1", TaskState::Running).await;
    world.expect("t1", TaskState::Finished).await;
    assert_eq!(world.stdout("t1"), "/dev/full\n");
    world.hear("a free device", |message| matches!(message, FromAgent::DevicesFree(_)).then_some(())).await;
}
