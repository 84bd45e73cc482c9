use rialto_core::model::Body;
use rialto_core::scheduler::bench::{offer, role, task_id};
use rialto_core::scheduler::placement::{Packer, Strategy};

use super::*;

#[test]
fn a_command_becomes_a_task_with_a_body_that_reads_back() {
    let command = Command::shell("echo hi").env("A", "1").cpus("0.5").expect("cpus").mem_mib(64).ports(1);
    let offers = [offer(1, 1, "web", "cpus:4;mem:1024;ports:[31000-31009]", &[])];
    let placement = Packer::new(&role("web"), &offers).place(&command.needs, Strategy::Pack).expect("fits");
    let task = command.task(task_id("t1"), &role("web"), &placement);
    assert_eq!(task.resources.to_string(), "cpus:0.5 mem:64 ports:[31000-31000]");
    assert_eq!(&*task.name, "t1");
    assert_eq!(TaskSpec::from_body(&task.body), Ok(command.spec));
    assert!(TaskSpec::from_body(&Body::new(*b"\xff")).is_err());
}

#[test]
fn what_does_not_parse_is_named() {
    let error = |result: Result<Command, CommandError>| result.expect_err("does not parse").to_string();
    assert!(error(Command::shell("x").cpus("many")).starts_with("cpus: expected a number"));
    assert!(error(Command::shell("x").device("0 gpu")).starts_with("device claim \"0 gpu\""));
    assert!(error(Command::shell("x").only_on("==")).starts_with("constraint: selector"));
}
