use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn ranges(text: &str) -> Ranges {
    text.parse().unwrap()
}

/// Numbers near one of the two ends, so that what is one below or one above is tried where there is none.
fn near_an_end() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1_000), Just(u64::MAX - 39)]
}

fn pairs() -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec((0..40_u64, 0..8_u64), 0..8)
}

fn from_pairs(base: u64, pairs: &[(u64, u64)]) -> (Ranges, BTreeSet<u64>) {
    let range = |(first, more): &(u64, u64)| Range { first: base + first, last: base + (first + more).min(39) };
    let numbers = pairs.iter().map(range).flat_map(|range| range.first..=range.last).collect();
    (Ranges::new(pairs.iter().map(range)), numbers)
}

fn numbers(ranges: &Ranges) -> BTreeSet<u64> {
    ranges.numbers().collect()
}

fn is_canonical(ranges: &Ranges) -> bool {
    let all: Vec<Range> = ranges.iter().collect();
    all.iter().all(|range| range.first <= range.last)
        && all.windows(2).all(|two| two[0].last.checked_add(1).is_some_and(|next| next < two[1].first))
}

#[test]
fn ranges_are_read_in_any_order_and_merged_where_they_touch() {
    for (text, shown) in [
        ("[]", "[]"),
        ("[ ]", "[]"),
        ("[5]", "[5-5]"),
        ("[1-3,4-6]", "[1-6]"),
        ("[1-3, 5-6]", "[1-3,5-6]"),
        ("[ 10 - 20 , 1-2 ]", "[1-2,10-20]"),
        ("[1-9,3-4]", "[1-9]"),
        ("[0-18446744073709551615]", "[0-18446744073709551615]"),
        ("[18446744073709551615,0-18446744073709551614]", "[0-18446744073709551615]"),
    ] {
        assert_eq!(ranges(text).to_string(), shown, "{text}");
    }
}

#[test]
fn what_is_not_a_list_of_ranges_is_refused() {
    for text in [
        "",
        "[",
        "]",
        "1-2",
        "[1-2",
        "1-2]",
        "[a]",
        "[1-b]",
        "[-1]",
        "[1-]",
        "[-]",
        "[1-2-3]",
        "[+1]",
        "[1-+2]",
        "[1.5]",
        "[18446744073709551616]",
        "[٣]",
        "[[1-2]]",
        "[1 2]",
    ] {
        assert_eq!(text.parse::<Ranges>(), Err(RangesError::Form(text.to_owned())), "{text}");
    }
}

#[test]
fn a_range_that_runs_backwards_is_refused() {
    let error = "[1-2,9-7]".parse::<Ranges>().unwrap_err();
    assert_eq!(error, RangesError::Backwards(9, 7));
    assert_eq!(error.to_string(), "expected the first number of a range to be at most the last, got 9-7");
}

#[test]
fn all_numbers_are_counted_as_far_as_a_number_goes() {
    let all = ranges("[0-18446744073709551615]");
    assert_eq!(all.len(), u64::MAX);
    assert_eq!(all.difference(&Ranges::single(7)).len(), u64::MAX);
    assert_eq!(ranges("[1-18446744073709551615]").len(), u64::MAX);
    assert_eq!(Ranges::default().len(), 0);
}

#[test]
fn the_first_and_the_last_number_can_be_taken_out() {
    let all = ranges("[0-18446744073709551615]");
    let (first, last) = (Ranges::single(0), Ranges::single(u64::MAX));
    assert_eq!(all.difference(&first).difference(&last), ranges("[1-18446744073709551614]"));
    assert_eq!(all.difference(&all), Ranges::default());
    assert_eq!(all.intersection(&last), last);
    assert!(all.contains(&last) && !first.contains(&last));
}

proptest! {
    #[test]
    fn ranges_are_a_set_of_numbers(base in near_an_end(), a in pairs(), b in pairs()) {
        let ((a, in_a), (b, in_b)) = (from_pairs(base, &a), from_pairs(base, &b));
        prop_assert_eq!(numbers(&a), in_a.clone());
        prop_assert_eq!(numbers(&a.union(&b)), &in_a | &in_b);
        prop_assert_eq!(numbers(&a.difference(&b)), &in_a - &in_b);
        prop_assert_eq!(numbers(&a.intersection(&b)), &in_a & &in_b);
        prop_assert_eq!(a.contains(&b), in_a.is_superset(&in_b));
        prop_assert_eq!(a.len(), in_a.len() as u64);
        prop_assert_eq!(a.is_empty(), in_a.is_empty());
        for result in [a.union(&b), a.difference(&b), a.intersection(&b)] {
            prop_assert!(is_canonical(&result), "{result}");
        }
    }

    #[test]
    fn what_is_shown_is_read_back(base in near_an_end(), pairs in pairs()) {
        let (ranges, _) = from_pairs(base, &pairs);
        prop_assert_eq!(ranges.to_string().parse(), Ok(ranges));
    }

    #[test]
    fn any_text_is_ranges_or_an_error(text in "\\PC{0,30}|\\[[0-9, +-]{0,60}\\]") {
        if let Ok(ranges) = text.parse::<Ranges>() {
            prop_assert!(is_canonical(&ranges));
            prop_assert_eq!(ranges.to_string().parse(), Ok(ranges));
        }
    }
}
