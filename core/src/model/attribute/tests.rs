use proptest::prelude::*;

use super::*;

fn version(parts: &[u32]) -> Attribute {
    Attribute::Version(parts.to_vec())
}

#[test]
fn a_text_spells_the_narrowest_kind_that_it_can() {
    for (text, value) in [
        ("true", Attribute::Bool(true)),
        ("false", Attribute::Bool(false)),
        ("True", Attribute::text("True")),
        ("8", Attribute::Int(8)),
        ("-3", Attribute::Int(-3)),
        ("9223372036854775807", Attribute::Int(i64::MAX)),
        ("-9223372036854775808", Attribute::Int(i64::MIN)),
        ("9223372036854775808", Attribute::text("9223372036854775808")),
        ("40GiB", Attribute::Quantity(40 << 30)),
        ("16GB", Attribute::Quantity(16_000_000_000)),
        ("900MHz", Attribute::Quantity(900_000_000)),
        ("0B", Attribute::Quantity(0)),
        ("18446744073709551615B", Attribute::Quantity(u64::MAX)),
        ("16777216TiB", Attribute::text("16777216TiB")),
        ("40 GiB", Attribute::text("40 GiB")),
        ("GiB", Attribute::text("GiB")),
        ("4.5GiB", Attribute::text("4.5GiB")),
        ("-4GiB", Attribute::text("-4GiB")),
        ("550.54.15", version(&[550, 54, 15])),
        ("v1.2", version(&[1, 2])),
        ("v5", Attribute::text("v5")),
        ("1.", Attribute::text("1.")),
        ("1..2", Attribute::text("1..2")),
        ("1.+2", Attribute::text("1.+2")),
        ("1.4294967296", Attribute::text("1.4294967296")),
        ("", Attribute::text("")),
        ("H100", Attribute::text("H100")),
    ] {
        assert_eq!(Attribute::parse(text), value, "{text:?}");
    }
}

#[test]
fn versions_compare_part_by_part_and_missing_parts_are_zero() {
    for (less, more) in [
        (version(&[1, 9]), version(&[1, 10])),
        (version(&[1, 2]), version(&[1, 2, 1])),
        (version(&[550, 54]), Attribute::Int(551)),
        (Attribute::Int(550), version(&[550, 54])),
        (Attribute::Int(-1), version(&[0, 0])),
        (version(&[u32::MAX, 9]), Attribute::Int(i64::from(u32::MAX) + 1)),
    ] {
        assert_eq!(less.compare(&more), Some(Ordering::Less), "{less} and {more}");
        assert_eq!(more.compare(&less), Some(Ordering::Greater), "{more} and {less}");
    }
    assert_eq!(version(&[1, 2]).compare(&version(&[1, 2, 0])), Some(Ordering::Equal));
    assert_eq!(version(&[7, 0]).compare(&Attribute::Int(7)), Some(Ordering::Equal));
}

#[test]
fn quantities_compare_with_whole_numbers_of_base_units() {
    for (quantity, number, order) in [
        (1_024, 1_024, Ordering::Equal),
        (0, -1, Ordering::Greater),
        (u64::MAX, i64::MAX, Ordering::Greater),
        (0, i64::MIN, Ordering::Greater),
        (5, 6, Ordering::Less),
    ] {
        let (quantity, number) = (Attribute::Quantity(quantity), Attribute::Int(number));
        assert_eq!(quantity.compare(&number), Some(order), "{quantity} and {number}");
        assert_eq!(number.compare(&quantity), Some(order.reverse()), "{number} and {quantity}");
    }
}

#[test]
fn kinds_that_have_nothing_in_common_have_no_order() {
    let all =
        [Attribute::Int(1), Attribute::text("1"), Attribute::Bool(true), version(&[1, 0]), Attribute::Quantity(1)];
    let ordered = |a: &Attribute, b: &Attribute| {
        let numeric = |value: &Attribute| matches!(value, Attribute::Int(_));
        let beside = |value: &Attribute| matches!(value, Attribute::Version(_) | Attribute::Quantity(_));
        a == b || (numeric(a) && beside(b)) || (beside(a) && numeric(b))
    };
    for a in &all {
        for b in &all {
            assert_eq!(a.compare(b).is_some(), ordered(a, b), "{a:?} and {b:?}");
        }
    }
}

fn any_number() -> impl Strategy<Value = Attribute> {
    let edge = prop_oneof![Just(i64::MIN), Just(-1), Just(0), Just(1), Just(i64::MAX), any::<i64>()];
    prop_oneof![
        edge.prop_map(Attribute::Int),
        prop_oneof![Just(0), Just(1 << 40), any::<u64>(), (0..4096_u64).prop_map(|mib| mib << 20)]
            .prop_map(Attribute::Quantity),
        prop::collection::vec(0..4_u32, 2..4).prop_map(Attribute::Version),
    ]
}

proptest! {
    #[test]
    fn comparing_the_other_way_round_turns_the_order(a in any_number(), b in any_number()) {
        prop_assert_eq!(a.compare(&b), b.compare(&a).map(Ordering::reverse));
        prop_assert_eq!(a.compare(&a), Some(Ordering::Equal));
    }

    #[test]
    fn what_is_shown_is_read_back(value in any_number()) {
        prop_assert_eq!(Attribute::parse(&value.to_string()), value);
    }

    #[test]
    fn any_text_spells_something(text in "\\PC{0,30}|v?[0-9.+-]{0,30}[KMGTi]{0,2}B?") {
        let value = Attribute::parse(&text);
        prop_assert_eq!(Attribute::parse(&value.to_string()), value);
    }
}
