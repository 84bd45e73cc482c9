use super::*;

#[test]
fn percentiles_are_milliseconds() {
    let mut latencies = Latencies::new();
    assert!(latencies.percentiles().is_none(), "nothing was recorded");
    for millis in 1..=100 {
        latencies.record(Duration::from_millis(millis));
    }
    let found = latencies.percentiles().expect("a hundred were recorded");
    assert!((found.p50 - 50.0).abs() < 0.1 && (found.p99 - 99.0).abs() < 0.1, "{found:?}");
    let mut both = Latencies::new();
    both.add(&latencies);
    both.add(&latencies);
    assert_eq!(both.percentiles().expect("two hundred").count, 200);
}

#[test]
fn fields_of_proc_are_found() {
    let status = "Name:\trialto\nVmRSS:\t   20480 kB\n";
    assert_eq!(field_kib(status, "VmRSS:"), Some(20480));
    assert_eq!(field_kib(status, "VmHWM:"), None);
}

#[test]
fn this_machine_has_a_processor() {
    let machine = Machine::here().expect("/proc is readable");
    assert!(machine.cores > 0 && machine.memory_mib > 0 && !machine.kernel.is_empty(), "{machine:?}");
}
