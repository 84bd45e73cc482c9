use super::{Least, LeastError};
use crate::model::Quantities;

#[test]
fn it_reads_back_what_it_shows() {
    for text in ["cpus:0.01|mem:32", "cpus:1;mem:512|device/gpu/T4:1", ""] {
        let least: Least = text.parse().unwrap();
        assert_eq!(least.to_string(), text);
    }
    assert_eq!("cpus:0.01|mem:32".parse(), Ok(Least::usual()));
    assert!("".parse::<Least>().unwrap().is_anything());
}

#[test]
fn what_is_no_amount_is_refused_by_name() {
    for (text, message) in [
        ("cpus", "expected NAME:AMOUNT, got \"cpus\""),
        (":1", "expected NAME:AMOUNT, got \":1\""),
        ("cpus:1||mem:2", "expected NAME:AMOUNT, got \"\""),
        ("cpus:x", "cpus: expected a number such as 4 or 0.5, got \"x\""),
        ("cpus:-1", "cpus: expected a number such as 4 or 0.5, got \"-1\""),
        ("cpus:1;cpus:2", "expected each name once, got cpus twice"),
        ("mem:1|cpus:0", "[1]: expected at least one amount above 0, got none"),
    ] {
        assert_eq!(text.parse::<Least>().unwrap_err().to_string(), message, "{text}");
    }
    assert_eq!(Least::any_of(vec![Quantities::new()]), Err(LeastError::Empty(0)));
    assert_eq!(vec!["cpus:1"; 65].join("|").parse::<Least>(), Err(LeastError::TooMany(65)));
}
