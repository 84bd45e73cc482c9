use proptest::prelude::*;

use super::*;

fn claim(text: &str) -> Claim {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn refused(text: &str) -> String {
    text.parse::<Claim>().unwrap_err().to_string()
}

/// Count, kind and selector of each alternative.
fn parts(text: &str) -> Vec<(Count, String, String)> {
    let parts = claim(text).alternatives.into_iter();
    parts.map(|part| (part.count, part.kind.to_string(), part.selector.to_string())).collect()
}

fn part(count: Count, kind: &str, selector: &str) -> (Count, String, String) {
    (count, kind.to_owned(), selector.to_owned())
}

#[test]
fn a_claim_names_a_count_a_kind_and_a_selector() {
    for (text, expected) in [
        ("gpu", part(Count::Exactly(1), "gpu", "")),
        (" 2  gpu ", part(Count::Exactly(2), "gpu", "")),
        ("all gpu:", part(Count::All, "gpu", "")),
        ("1024 loop", part(Count::Exactly(1024), "loop", "")),
        ("2 gpu: memory >= 40GiB", part(Count::Exactly(2), "gpu", "memory >= 40GiB")),
        ("gpu:id==\"a:b\"", part(Count::Exactly(1), "gpu", "id==\"a:b\"")),
        ("fpga-2.x_y", part(Count::Exactly(1), "fpga-2.x_y", "")),
        ("allgpu", part(Count::Exactly(1), "allgpu", "")),
    ] {
        assert_eq!(parts(text), [expected], "{text}");
    }
    assert_eq!(claim("gpu"), Claim::one("gpu"));
}

#[test]
fn alternatives_are_split_at_single_bars_outside_quotes() {
    let one = Count::Exactly(1);
    assert_eq!(parts("gpu|4 fpga"), [part(one, "gpu", ""), part(Count::Exactly(4), "fpga", "")]);
    assert_eq!(parts("gpu: a || b | fpga"), [part(one, "gpu", "a || b"), part(one, "fpga", "")]);
    assert_eq!(parts("gpu: a||b|fpga"), [part(one, "gpu", "a||b"), part(one, "fpga", "")]);
    assert_eq!(parts("gpu: a == \"x | y\" | fpga"), [part(one, "gpu", "a == \"x | y\""), part(one, "fpga", "")]);
    assert_eq!(parts("gpu: a == \"ä|\"|fpga"), [part(one, "gpu", "a == \"ä|\""), part(one, "fpga", "")]);
}

#[test]
fn a_claim_without_a_kind_is_refused() {
    for text in
        ["", "  ", ":", ": a", "2", "all", "2 all", "2 3", "gpü", "gpu/0", "-gpu", "|", "gpu|", "|gpu", "gpu | | fpga"]
    {
        assert_eq!(text.parse::<Claim>(), Err(ClaimError::NoKind(text.to_owned())), "{text}");
    }
    assert!("g".repeat(64).parse::<Claim>().is_ok());
    assert!("g".repeat(65).parse::<Claim>().is_err());
    assert_eq!(refused("2"), "device claim \"2\": expected a kind of device such as gpu, or 2 gpu: memory >= 40GiB");
}

#[test]
fn a_count_is_a_number_from_one_or_all() {
    for count in ["0", "-1", "+2", "1025", "65536", "99999999999999999999", "1.5", "٢"] {
        let text = format!("{count} gpu");
        assert_eq!(
            refused(&text),
            format!("device claim \"{text}\": expected a count from 1 to 1024 or 'all', got \"{count}\"")
        );
    }
}

#[test]
fn a_claim_names_a_share_and_what_holds_across_its_devices() {
    let alternative = |text: &str| claim(text).alternatives.remove(0);
    assert_eq!(alternative("gpu share 0.25").share, Share(250));
    assert_eq!(alternative("gpu share 1").share, Share::WHOLE);
    assert_eq!(alternative("gpu").constraints, []);
    let all = alternative("all gpu prefer linked share 0.001 same-root prefer same-numa: memory >= 40GiB");
    assert_eq!((all.count, all.share), (Count::All, Share(1)));
    let constraints = [
        (DeviceConstraint::Linked, Strength::Prefer),
        (DeviceConstraint::SamePciRoot, Strength::Require),
        (DeviceConstraint::SameNumaNode, Strength::Prefer),
    ];
    assert_eq!(all.constraints, constraints);
    assert_eq!(all.selector.to_string(), "memory >= 40GiB");
}

#[test]
fn a_bad_option_is_refused_with_what_was_expected() {
    for (text, complaint) in [
        ("2 gpu fast", "expected 'share', 'prefer', 'same-numa', 'same-root', 'linked' or ':', got \"fast\""),
        ("two gpu", "expected 'share', 'prefer', 'same-numa', 'same-root', 'linked' or ':', got \"gpu\""),
        ("gpu prefer fast", "expected 'same-numa', 'same-root' or 'linked' after 'prefer', got \"fast\""),
        ("gpu prefer", "expected 'same-numa', 'same-root' or 'linked' after 'prefer', got \"\""),
        ("gpu share 1.5", "expected a share from 0.001 to 1, got \"1.5\""),
        ("gpu share 0", "expected a share from 0.001 to 1, got \"0\""),
        ("gpu share 0.0001", "expected a share from 0.001 to 1, got \"0.0001\""),
        ("gpu share", "expected a share from 0.001 to 1, got \"\""),
        ("gpu linked prefer linked", "linked is given twice"),
        ("gpu share 0.5 share 0.5", "share is given twice"),
    ] {
        assert_eq!(refused(text), format!("device claim {text:?}: {complaint}"));
    }
}

#[test]
fn a_bad_selector_is_refused_with_its_column() {
    assert_eq!(
        refused("gpu: a = 1"),
        "device claim \"gpu: a = 1\": selector \"a = 1\", column 3: expected '&&', '||' or the end, got \"=\""
    );
    for text in ["gpu: a ||| b", "gpu: a ||", "gpu: a == \"x | fpga", "fpga | gpu: &&"] {
        assert!(matches!(text.parse::<Claim>(), Err(ClaimError::Selector { .. })), "{text}");
    }
}

#[test]
fn there_are_not_too_many_alternatives() {
    assert_eq!(claim(&["gpu"; Claim::MAX_ALTERNATIVES].join("|")).alternatives.len(), Claim::MAX_ALTERNATIVES);
    let text = ["gpu"; Claim::MAX_ALTERNATIVES + 1].join("|");
    assert_eq!(refused(&text), format!("device claim \"{text}\": expected at most 8 alternatives, got 9"));
}

#[test]
fn a_claim_is_shown_in_the_shortest_way() {
    for (text, shown) in [
        ("1 gpu:", "gpu"),
        ("02 gpu", "2 gpu"),
        ("all gpu:memory>=40GiB|gpu", "all gpu: memory>=40GiB | gpu"),
        ("gpu linked share 0.50", "gpu share 0.5 linked"),
        ("gpu share 1", "gpu"),
    ] {
        assert_eq!(claim(text).to_string(), shown);
    }
}

fn alternative() -> impl Strategy<Value = String> {
    let count = prop_oneof![Just(String::new()), Just("all ".to_owned()), (1..=1024_u16).prop_map(|n| format!("{n} "))];
    let selectors = vec!["", ": mig", ": a || b", ": a == \"x | y\" && !c", ":memory>=40GiB", ": l == \"ö:|\""];
    let share = prop::option::of(1..=1000_u16)
        .prop_map(|milli| milli.map(|milli| format!(" share {}", Milli(u64::from(milli)))).unwrap_or_default());
    let constraints = prop::sample::subsequence(vec![" same-numa", " prefer same-root", " linked"], 0..=3);
    (count, "[a-z][a-z0-9._-]{0,6}", constraints, share, prop::sample::select(selectors))
        .prop_filter("all is a count", |(_, kind, ..)| kind != "all")
        .prop_map(|(count, kind, constraints, share, selector)| {
            format!("{count}{kind}{}{share}{selector}", constraints.concat())
        })
}

proptest! {
    #[test]
    fn what_is_shown_is_read_back(alternatives in prop::collection::vec(alternative(), 1..=8)) {
        let parsed: Claim = alternatives.join(" | ").parse().unwrap();
        prop_assert_eq!(parsed.alternatives.len(), alternatives.len());
        prop_assert_eq!(parsed.to_string().parse(), Ok(parsed));
    }

    #[test]
    fn any_text_is_a_claim_or_an_error(text in "\\PC{0,60}|[a-z0-9 :|\"=&!]{0,60}|([2-4] )?gpu( prefer)?( same-numa| linked| share 0[.][0-9]{1,4}){0,3}") {
        if let Ok(claim) = text.parse::<Claim>() {
            prop_assert_eq!(claim.to_string().parse(), Ok(claim));
        }
    }
}
