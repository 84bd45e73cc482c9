use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use rialto_core::model::{Attribute, DeviceMode};

use super::*;

fn error(text: &str) -> String {
    DeviceSource::parse(text).expect_err("it is not a source").to_string()
}

#[test]
fn fake_devices_have_what_is_asked_for() {
    let source = DeviceSource::parse("fake:gpu,model=G2,memory=40GiB,count=2,generation=8,mode=shared")
        .expect("it is well formed");
    let devices = source.discover();
    let ids: Vec<&str> = devices.iter().map(|device| device.id.as_str()).collect();
    assert_eq!(ids, ["gpu-G2-0", "gpu-G2-1"]);
    assert_eq!((&*devices[0].model, devices[0].generation, devices[0].mode), ("G2", 8, DeviceMode::Shared));
    assert_eq!(devices[0].attributes.get("memory"), Some(&Attribute::Quantity(40 << 30)));
    assert_eq!(source.discover(), devices, "ids are stable");
}

#[test]
fn what_is_not_a_source_says_what_was_expected() {
    assert!(error("gpu").contains("expected fake:KIND, glob:PATTERN, cdi:VENDOR/CLASS, nvml or plugin:SOCKET"));
    assert!(error("fake:").contains("expected a kind such as gpu"));
    assert!(error("fake:gpu,count=many").contains("count: expected a number up to 256, got \"many\""));
    assert!(error("fake:gpu,count").contains("expected NAME=VALUE, got \"count\""));
    assert!(error("fake:gpu,mode=both").contains("mode: expected exclusive or shared"));
    assert!(error("fake:gpu,model=a b").contains("model: expected"));
    assert!(error("glob:dev/loop*").contains("expected an absolute path"));
    assert!(error("glob:/dev/../x").contains("without empty parts and '..'"));
    assert!(error("glob:/dev/loop*,colour=x").contains("colour: not known here"));
}

#[test]
fn a_glob_finds_devices_that_may_be_opened_and_nothing_else() {
    let source = DeviceSource::parse("glob:/dev/nul?,kind=sink").expect("it is well formed");
    let devices = source.discover();
    assert_eq!(devices.len(), 1);
    assert_eq!((devices[0].id.as_str(), &*devices[0].kind), ("null", "sink"));
    assert_eq!(devices[0].nodes, ["/dev/null".into()]);
    let files = DeviceSource::parse("glob:/etc/*").expect("it is well formed");
    assert!(files.discover().is_empty());
    let nothing = DeviceSource::parse("glob:/no/such/folder/*").expect("it is well formed");
    assert!(nothing.discover().is_empty());
}

#[test]
fn the_kind_is_what_the_file_name_begins_with() {
    let source = DeviceSource::parse("glob:/dev/null[0-9]*").expect("it is well formed");
    assert_eq!(
        source,
        DeviceSource {
            kind: Kind::Glob(glob::Glob::parse("/dev/null[0-9]*,kind=null").expect("it is well formed")),
            ..source.clone()
        }
    );
}

#[test]
fn patterns_match_as_in_a_shell() {
    let matches = |pattern: &str, name: &str| glob::matches(pattern.as_bytes(), name.as_bytes());
    assert!(matches("loop*", "loop0") && matches("loop*", "loop") && matches("l*p?", "loop0"));
    assert!(matches("loop[0-9]*", "loop12") && !matches("loop[0-9]*", "loop-control"));
    assert!(matches("[!a]b", "bb") && !matches("[!a]b", "ab"));
    assert!(!matches("loop[0", "loop0") && !matches("", "x") && !matches("?", ""));
}

/// A process that has `/dev/full` open until its standard input ends.
#[test]
fn a_device_is_clean_once_nobody_has_it_open() {
    let device = DeviceSource::parse("glob:/dev/full").expect("it is well formed").discover().remove(0);
    let mut holder = Command::new("/bin/sh")
        .args(["-c", "exec 3</dev/full; echo open; read line"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell can be started");
    let mut line = String::new();
    BufReader::new(holder.stdout.take().expect("it is a pipe")).read_line(&mut line).expect("it can be read");
    let held = release(&device, Duration::ZERO).expect_err("the shell has it open");
    assert!(held.contains(&format!("process {}", holder.id())) && held.ends_with("has /dev/full open"), "{held}");
    drop(holder.stdin.take());
    holder.wait().expect("it ends");
    release(&device, Duration::from_secs(10)).expect("nobody has it open");
}
