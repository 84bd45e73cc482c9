use std::time::Duration;

use rialto_sdk::core::model::{Resources, WallTime};
use rialto_sdk::core::testing::{labelled, reserved};

use super::{end_of, labels, pick};

#[test]
fn a_duration_is_a_number_and_a_unit() {
    let at = Duration::from_secs(1000);
    for (text, seconds) in [("90s", 1090), ("2m", 1120), ("1h", 4600), ("7d", 605_800)] {
        assert_eq!(end_of(text, at).expect(text), WallTime(seconds * 1_000_000), "{text}");
    }
    for bad in ["", "h", "5", "-1h", "0m", "1w", "9999999d", "99999999999999999999h", "1ä"] {
        assert!(end_of(bad, at).is_err(), "{bad}");
    }
}

#[test]
fn a_label_has_a_key() {
    assert_eq!(labels(&["a=b=c".to_owned()]).expect("a label").into_iter().next(), Some(("a".into(), "b=c".into())));
    for bad in ["a", "=b"] {
        assert!(labels(&[bad.to_owned()]).is_err(), "{bad}");
    }
}

#[test]
fn what_is_given_back_is_found_among_the_reservations_that_are_meant() {
    let one = reserved("eng", "cpus:2;ports:[1-4]");
    let two = labelled(&reserved("eng", "cpus:2"), "for", "ci");
    let there = one.plus(&two).plus(&reserved("ops", "cpus:9"));
    let eng = |flavor: &rialto_sdk::core::model::Flavor| flavor.role().is_some_and(|role| role.as_str() == "eng");
    let wanted: Resources = "cpus:3;ports:[2-3]".parse().expect("resources");
    let found = pick(&there, &wanted, eng).expect("there is enough");
    assert_eq!(found.quantities(), wanted.quantities());
    assert!(there.contains(&found));
    assert_eq!(pick(&there, &"cpus:5".parse().expect("resources"), eng), None);
}
