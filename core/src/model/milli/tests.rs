use proptest::prelude::*;

use super::*;

fn not_a_number(text: &str) -> Result<Milli, MilliError> {
    Err(MilliError::NotANumber(text.to_owned()))
}

#[test]
fn decimal_numbers_are_amounts() {
    for (text, thousandths) in [
        ("0", 0),
        ("0.0", 0),
        ("4", 4_000),
        ("007", 7_000),
        ("0.5", 500),
        ("0.05", 50),
        ("0.001", 1),
        ("1.250", 1_250),
        ("1.5000000", 1_500),
        ("1000000000", 1_000_000_000_000),
    ] {
        assert_eq!(text.parse(), Ok(Milli(thousandths)), "{text}");
    }
}

#[test]
fn what_is_not_a_plain_decimal_number_is_no_amount() {
    for text in [
        "", ".", ".5", "5.", "+1", "-1", "-0", "1e3", "NaN", "inf", "1.2.3", "1,5", " 1", "1 ", "0x10", "٣", "1.٣", "½",
    ] {
        assert_eq!(text.parse(), not_a_number(text), "{text}");
    }
}

#[test]
fn finer_than_thousandths_is_refused() {
    for text in ["0.0001", "1.2345", "3.0009"] {
        assert_eq!(text.parse::<Milli>(), Err(MilliError::TooFine(text.to_owned())), "{text}");
    }
}

#[test]
fn more_than_the_largest_is_refused() {
    for text in
        ["1000000000.001", "1000000001", "18446744073709551615", "18446744073709551616", "99999999999999999999999"]
    {
        assert_eq!(text.parse::<Milli>(), Err(MilliError::TooLarge(text.to_owned())), "{text}");
    }
    let error = "1000000001".parse::<Milli>().unwrap_err();
    assert_eq!(error.to_string(), "expected at most 1000000000, got \"1000000001\"");
}

#[test]
fn an_amount_is_shown_without_trailing_zeros() {
    for (thousandths, text) in [(0, "0"), (1, "0.001"), (50, "0.05"), (500, "0.5"), (1_000, "1"), (1_250, "1.25")] {
        assert_eq!(Milli(thousandths).to_string(), text);
    }
}

#[test]
fn sums_and_whole_units_stay_at_the_largest_number() {
    assert_eq!(Milli(u64::MAX).plus(Milli(1)), Milli(u64::MAX));
    assert_eq!(Milli::from_whole(u64::MAX), Milli(u64::MAX));
    assert_eq!(Milli(1).minus(Milli(2)), None);
}

proptest! {
    #[test]
    fn what_is_shown_is_read_back(thousandths in 0..=Milli::MAX.0) {
        prop_assert_eq!(Milli(thousandths).to_string().parse(), Ok(Milli(thousandths)));
    }

    #[test]
    fn what_is_added_can_be_taken_away(a in 0..=Milli::MAX.0, b in 0..=Milli::MAX.0) {
        let sum = Milli(a).plus(Milli(b));
        prop_assert_eq!(sum.minus(Milli(b)), Some(Milli(a)));
        prop_assert_eq!(sum, Milli(b).plus(Milli(a)));
    }

    #[test]
    fn any_text_is_an_amount_or_an_error(text in "\\PC{0,30}|[0-9.+e-]{0,30}") {
        if let Ok(amount) = text.parse::<Milli>() {
            prop_assert_eq!(amount.to_string().parse(), Ok(amount));
        }
    }
}
