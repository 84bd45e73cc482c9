//! One life as a trace: one line for each input and effect.

use super::language::{World, agent_with_gpus};
use crate::agent::Effect;
use crate::model::{DeviceState, FromAgent, TaskState};

fn line(effect: &Effect) -> String {
    match effect {
        Effect::ToMaster(FromAgent::Update { framework, status, latest }) => {
            let reason = status.reason.map(|reason| format!(" ({reason}: {})", status.message)).unwrap_or_default();
            format!("update {framework}/{} {}{reason}, latest {latest}", status.task, status.state)
        }
        Effect::ToMaster(FromAgent::DevicesFree(devices)) => format!("free {devices:?}"),
        Effect::ToMaster(FromAgent::Devices(reports)) => format!("devices {}", reports.len()),
        Effect::ToMaster(FromAgent::Register(report)) => {
            format!("register {} with {}", report.info.name, report.resources)
        }
        Effect::ToMaster(other) => format!("say {other:?}"),
        Effect::Start { launch, devices } => {
            let devices: Vec<String> = devices.values().flatten().map(|device| device.id.to_string()).collect();
            format!("start {}/{} on [{}]", launch.framework, launch.group.leader(), devices.join(" "))
        }
        Effect::Kill { task, grace } => format!("kill {task} within {grace:?}"),
        Effect::Release { device, generation, .. } => format!("release {} #{generation}", device.id),
        Effect::Forget { task } => format!("forget {task}"),
        Effect::Shutdown(reject) => format!("shutdown: {reject}"),
        Effect::MakeVolume { volume, fresh } => format!("make volume {volume}, fresh {fresh}"),
        Effect::DestroyVolume(volume) => format!("destroy volume {volume}"),
        Effect::Notice(text) => format!("notice: {text}"),
    }
}

fn trace(a: &mut World, lines: &mut String) {
    for effect in a.seen.clone() {
        lines.push_str(&format!("{} {}\n", a.now, line(&effect)));
    }
}

#[test]
fn the_life_of_a_task_with_a_device() {
    let mut a = agent_with_gpus();
    let mut lines = String::new();
    let record = |a: &mut World, lines: &mut String| {
        trace(a, lines);
        a.seen.clear();
    };
    a.wait_s(1);
    a.launch_on("t1", &["gpu-0"]);
    record(&mut a, &mut lines);
    a.running("t1");
    trace(&mut a, &mut lines);
    a.expect_update("t1", TaskState::Running);
    a.wait_s(10);
    record(&mut a, &mut lines);
    a.ack("t1");
    a.kill("t1");
    record(&mut a, &mut lines);
    a.wait_s(2);
    a.ends("t1", crate::agent::End::Killed(Some(crate::model::Exit::Signal(15))));
    trace(&mut a, &mut lines);
    a.expect_update("t1", TaskState::Killed);
    a.seen.clear();
    a.cleaned("gpu-0", 1);
    a.ack("t1");
    record(&mut a, &mut lines);
    assert_eq!(
        lines,
        "\
1.000s start F1-1/t1 on [gpu-0]
1.000s update F1-1/t1 TASK_RUNNING, latest TASK_RUNNING
11.000s update F1-1/t1 TASK_RUNNING, latest TASK_RUNNING
11.000s kill F1-1/t1 within 5s
13.000s update F1-1/t1 TASK_KILLED (KILL_REQUESTED: signal 15 (SIGTERM)), latest TASK_KILLED
13.000s release gpu-0 #1
13.000s free [(\"gpu-0\", 1)]
13.000s forget F1-1/t1
"
    );
    a.expect_device("gpu-0", &DeviceState::Free);
}
