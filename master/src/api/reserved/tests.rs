use rialto_core::model::Resources;
use rialto_core::testing::{labelled, refined, reserved, shared, until, volume};

use super::Reserved;

#[test]
fn a_row_says_all_that_an_operation_must_name() {
    let fine = refined("eng/ci", &"cpus(eng):1;ports(eng):[1-4,9]".parse().expect("resources"));
    let labelled = labelled(&until(60, &reserved("ops", "disk:100;zones:{a,b}")), "for", "ci");
    let data = shared(&volume("data", &reserved("ops", "disk:50")));
    let plain: Resources = "cpus:4".parse().expect("resources");
    let rows = Reserved::rows(&plain.plus(&fine).plus(&labelled).plus(&data));
    let mut back = Resources::new();
    for row in &rows {
        let json = serde_json::to_string(row).expect("it is JSON");
        let read: Reserved = serde_json::from_str(&json).expect("it was just written");
        back.add(&read.to_resources().expect("it is acceptable"));
    }
    assert_eq!(back, fine.plus(&labelled).plus(&data));
    assert!(rows.iter().any(|row| row.owner() == "ops volume data"));
}
