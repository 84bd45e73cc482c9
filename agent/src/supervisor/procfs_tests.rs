use super::*;

#[test]
fn names_can_contain_anything() {
    let stat = "42 (a) S (b 1 2) Z 7 8 9 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 0 0";
    let expected = Process { pid: 42, parent: 7, process_group: 8, session: 9, start_ticks: 123_456, is_zombie: true };
    assert_eq!(parse_stat(42, stat), Some(expected));
}

#[test]
fn what_is_cut_short_is_no_process() {
    assert_eq!(parse_stat(42, ""), None);
    assert_eq!(parse_stat(42, "42 (a) S 1 2"), None);
}

#[test]
fn both_ways_find_the_same_descendants() {
    let mut child = std::process::Command::new("sleep").arg("100").spawn().expect("a process");
    let me = rustix::process::getpid().as_raw_pid();
    let id = i32::try_from(child.id()).expect("a pid");
    for found in [descendants(me), descendants_by_parent(me)] {
        assert!(found.iter().any(|process| process.pid == id && process.parent == me));
    }
    child.kill().expect("a signal");
    child.wait().expect("a child");
    assert!(Process::read(id).is_none());
}

#[test]
fn another_process_with_the_same_id_is_not_signalled() {
    let mut child = std::process::Command::new("sleep").arg("100").spawn().expect("a process");
    let process = Process::read(i32::try_from(child.id()).expect("a pid")).expect("it lives");
    let recycled = Process { start_ticks: process.start_ticks + 1, ..process };
    recycled.signal(Signal::KILL).expect("nothing to do");
    assert!(child.try_wait().expect("a child").is_none());
    process.signal(Signal::KILL).expect("it lives");
    child.wait().expect("a child");
    process.signal(Signal::KILL).expect("gone is no error");
}
