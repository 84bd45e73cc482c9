use super::{amounts, priorities};

#[test]
fn kinds_of_the_clusters_devices_need_no_prefix() {
    let kinds = ["gpu".to_owned()];
    let read = |text: &str| -> Vec<String> {
        let bounds = amounts(text, &kinds).expect("amounts");
        bounds.iter().map(|(name, amount)| format!("{name}:{amount}")).collect()
    };
    assert_eq!(read("cpus:10;gpu:2"), ["cpus:10", "device/gpu:2"]);
    assert_eq!(read("gpu/T4:1;device/fpga:3;licences:0"), ["device/fpga:3", "device/gpu/T4:1", "licences:0"]);
}

#[test]
fn what_is_no_amount_is_refused() {
    for text in ["cpus", "cpus:many", "cpus:1;cpus:2", "ports:4", "gpu/:1", "a b:1"] {
        assert!(amounts(text, &["gpu".to_owned()]).is_err(), "{text}");
    }
}

#[test]
fn bounds_of_priorities_are_read() {
    let bounds = priorities("-5..10").expect("bounds");
    assert_eq!((bounds.lowest, bounds.highest), (-5, 10));
    assert!(priorities("5").is_err() && priorities("a..b").is_err());
}
