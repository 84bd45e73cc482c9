use super::*;

#[test]
fn what_is_given_replaces_what_is_found_one_by_one() {
    let given = "cpus:0.5;ports:[100-200]".parse().expect("they are well formed");
    let found = resources(Path::new("/"), &given);
    assert_eq!(found.quantities().get(&ResourceName::Cpus), Milli(500));
    assert!(!found.quantities().get(&ResourceName::Mem).is_zero());
    assert_eq!(found.ranges(&ResourceName::ports()).len(), 101);
}

#[test]
fn a_part_is_left_to_the_machine() {
    assert_eq!(leave(16_384, RESERVED_MEM_MIB), 15_360);
    assert_eq!(leave(1000, RESERVED_MEM_MIB), 500);
}

#[test]
fn meminfo_is_read() {
    assert_eq!(mem_total_mib("MemFree: 1 kB\nMemTotal:       2097152 kB\n"), Some(2048));
    assert_eq!(mem_total_mib("MemTotal: lots"), None);
}
