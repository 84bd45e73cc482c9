//! Durations and amounts.

use crate::spec::text::{duration_s, mib, thousandths};

#[test]
fn durations() {
    for (text, seconds) in [
        ("3600", 3_600),
        ("1h 30m", 5_400),
        ("1h30m", 5_400),
        ("90 minutes", 5_400),
        ("2 hours and 5 seconds", 7_205),
        ("1 day, 2 hours", 93_600),
        (" 1 week ", 604_800),
    ] {
        assert_eq!(duration_s(text), Some(seconds), "{text}");
    }
    for text in ["", " ", "-5", "+5", "1.5h", "h", "5 parsecs", "1h and ", "99999999999999999 years", "1h 5", "٣h"] {
        assert_eq!(duration_s(text), None, "{text}");
    }
}

#[test]
fn amounts() {
    assert_eq!(thousandths("0.125"), Some(125));
    assert_eq!(thousandths("2"), Some(2_000));
    assert_eq!(thousandths("2.5"), Some(2_500));
    for text in ["", ".", "1.", ".5", "1.2345", "-1", "+1", "1e3", "1,5", "1.+5", "99999999999999999999"] {
        assert_eq!(thousandths(text), None, "{text}");
    }
    assert_eq!(mib("512"), Some(512));
    assert_eq!(mib("1.5GiB"), Some(1_536));
    assert_eq!(mib("2 TiB"), Some(2 << 20));
    for text in ["0.5", "4GB", "4 gib", "GiB", "1.0001GiB", "18446744073709551615GiB"] {
        assert_eq!(mib(text), None, "{text}");
    }
}
