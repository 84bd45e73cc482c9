use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

struct Thing(BTreeMap<&'static str, Attribute>);

impl Attributes for Thing {
    fn attribute(&self, name: &str) -> Option<Attribute> {
        self.0.get(name).cloned()
    }
}

fn gpu() -> Thing {
    Thing(BTreeMap::from([
        ("model", Attribute::text("H100")),
        ("label", Attribute::text("Größe 8")),
        ("code", Attribute::text("8")),
        ("generation", Attribute::Int(9)),
        ("memory", Attribute::Quantity(80 << 30)),
        ("driver", Attribute::Version(vec![550, 54, 15])),
        ("mig", Attribute::Bool(true)),
        ("ecc", Attribute::Bool(false)),
        ("lowest", Attribute::Int(i64::MIN)),
        ("highest", Attribute::Int(i64::MAX)),
        ("most", Attribute::Quantity(u64::MAX)),
        ("in", Attribute::Int(1)),
    ]))
}

fn selector(text: &str) -> Selector {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn matches(text: &str) -> bool {
    selector(text).matches(&gpu())
}

fn refused(text: &str) -> (usize, String) {
    let error = text.parse::<Selector>().unwrap_err();
    (error.column, error.message)
}

#[test]
fn an_empty_selector_matches_everything() {
    for text in ["", "  ", "\n"] {
        let any = selector(text);
        assert!(any.is_any() && any == Selector::any() && any.matches(&gpu()) && any.unmet(&gpu()).is_empty());
    }
    assert!(!selector("mig").is_any());
}

#[test]
fn a_pattern_is_matched_against_the_whole_text() {
    for (pattern, text, expected) in [
        ("", "", true),
        ("*", "", true),
        ("?", "", false),
        ("a*b*c", "aXbYbZc", true),
        ("a*b*c", "aXbYbZ", false),
        ("*ab", "aab", true),
        ("a?", "a", false),
        ("**", "x", true),
        ("ab", "abc", false),
    ] {
        assert_eq!(is_like(pattern, text), expected, "{pattern} {text}");
    }
    assert!(!is_like(&"*a".repeat(500), &"a".repeat(499)), "and in reasonable time");
    assert_eq!(refused("model matches"), (14, "expected a pattern in quotes such as \"H1*\", got the end".to_owned()));
    assert_eq!(refused("model matches \"H"), (15, "expected a closing '\"'".to_owned()));
}

#[test]
fn attributes_are_compared_by_their_kind() {
    for text in [
        "model == H100",
        "model == \"H100\"",
        "model != A100",
        "model > A100",
        "generation >= 9",
        "generation<10",
        "generation > -1",
        "model matches \"H*\"",
        "model matches \"?1*0\"",
        "model matches H100",
        "label matches \"*ö*8\"",
        "!(model matches \"h*\") && !(generation matches \"*\") && !(absent matches \"*\")",
        "memory == 80GiB",
        "memory >= 40GiB",
        "memory > 85GB",
        "memory > 85899345919",
        "memory == 85899345920",
        "mig",
        "mig == true",
        "ecc == false",
        "!ecc",
        "ecc < mig || ecc < true",
        "driver >= 550.54",
        "driver == 550.54.15.0",
        "driver > v550.9",
        "driver > 550",
        "driver < 551",
        "driver > -1",
        "driver < 5000000000",
        "lowest == -9223372036854775808",
        "highest == 9223372036854775807",
        "lowest < 0B",
        "most > 9223372036854775807",
        "most == 18446744073709551615B",
        "label == \"Größe 8\"",
        "code == \"8\"",
        "model in [A100, H100]",
        "model in [ \"H100\" ]",
        "generation in [1,9]",
        "memory in [80GiB, true]",
        "in == 1",
        "in in [1]",
    ] {
        assert!(matches(text), "{text}");
    }
}

#[test]
fn what_is_absent_or_of_another_kind_meets_no_comparison() {
    for text in [
        "absent",
        "absent == 1",
        "absent != 1",
        "absent < 1",
        "absent in [1]",
        "model == 1",
        "model != 1",
        "model == true",
        "code == 8",
        "generation == \"9\"",
        "memory == 80.0",
        "driver == 550GiB",
        "ecc",
        "generation",
        "model",
        "mig == 1",
        "model in [1, true]",
    ] {
        assert!(!matches(text), "{text}");
        assert!(matches(&format!("!({text})")), "the negation of {text}");
    }
}

#[test]
fn negation_binds_more_than_and_and_that_more_than_or() {
    for (text, holds) in [
        ("mig || mig && ecc", true),
        ("(mig || mig) && ecc", false),
        ("ecc && ecc || mig", true),
        ("ecc && (ecc || mig)", false),
        ("!ecc && ecc", false),
        ("!(ecc && ecc)", true),
        ("!mig || mig", true),
        ("!(mig || mig)", false),
        ("!generation == 9", false),
        ("!!mig", true),
        ("! ! ( mig )", true),
    ] {
        assert_eq!(matches(text), holds, "{text}");
    }
}

#[test]
fn an_error_names_the_column_and_what_was_expected() {
    let value = "a value such as 8, 40GiB, 550.54, true or \"text\"";
    for (text, column, message) in [
        ("a ==", 5, format!("expected {value}, got the end")),
        ("a == ==", 6, format!("expected {value}, got \"==\"")),
        ("a == é", 6, format!("expected {value}, got \"é\"")),
        ("a = 1", 3, "expected '&&', '||' or the end, got \"=\"".to_owned()),
        ("a & b", 3, "expected '&&', '||' or the end, got \"&\"".to_owned()),
        ("a b", 3, "expected '&&', '||' or the end, got \"b\"".to_owned()),
        ("a)", 2, "expected '&&', '||' or the end, got \")\"".to_owned()),
        ("(a", 3, "expected ')', got the end".to_owned()),
        ("(a b)", 4, "expected ')', got \"b\"".to_owned()),
        ("()", 2, "expected an attribute's name, got \")\"".to_owned()),
        ("a &&", 5, "expected an attribute's name, got the end".to_owned()),
        ("&& a", 1, "expected an attribute's name, got \"&&\"".to_owned()),
        ("8 == a", 1, "expected an attribute's name, got \"8\"".to_owned()),
        ("größe == 1", 3, "expected '&&', '||' or the end, got \"ö\"".to_owned()),
        ("l == \"ä ö\" && ß", 15, "expected an attribute's name, got \"ß\"".to_owned()),
        ("a in 1", 6, "expected '[', got \"1\"".to_owned()),
        ("a in []", 7, format!("expected {value}, got \"]\"")),
        ("a in [1", 8, "expected ',' or ']', got the end".to_owned()),
        ("a in [1,]", 9, format!("expected {value}, got \"]\"")),
        ("a == \"x", 6, "expected a closing '\"'".to_owned()),
        ("a == \"", 6, "expected a closing '\"'".to_owned()),
        ("a == 40GiX", 6, "expected a number, a version, or a quantity such as 40GiB, got \"40GiX\"".to_owned()),
        ("a == -", 6, "expected a number, a version, or a quantity such as 40GiB, got \"-\"".to_owned()),
        (
            "a == 9223372036854775808",
            6,
            "expected a number, a version, or a quantity such as 40GiB, got \"9223372036854775808\"".to_owned(),
        ),
        (
            "a == 16777216TiB",
            6,
            "expected a number, a version, or a quantity such as 40GiB, got \"16777216TiB\"".to_owned(),
        ),
    ] {
        assert_eq!(refused(text), (column, message), "{text}");
    }
    let error = "a ==".parse::<Selector>().unwrap_err().to_string();
    assert_eq!(error, format!("selector \"a ==\", column 5: expected {value}, got the end"));
}

#[test]
fn nesting_and_length_are_limited() {
    let nested = |depth: usize| format!("{}mig{}", "(".repeat(depth), ")".repeat(depth));
    let negated = |depth: usize| format!("{}mig", "!".repeat(depth));
    for text in [nested(Selector::MAX_DEPTH), negated(Selector::MAX_DEPTH)] {
        assert!(matches(&text), "{text}");
    }
    for text in [nested(Selector::MAX_DEPTH + 1), negated(Selector::MAX_DEPTH + 1), "(".repeat(Selector::MAX_LEN)] {
        assert_eq!(refused(&text), (34, "expected at most 32 nested parentheses or '!'".to_owned()));
    }
    let beside = vec!["(!ecc)"; 400].join("||");
    assert!(beside.len() <= Selector::MAX_LEN && matches(&beside), "what stands side by side is not nested");
    assert_eq!(refused(&"a".repeat(Selector::MAX_LEN + 1)), (1, "expected at most 4096 bytes".to_owned()));
}

#[test]
fn unmet_clauses_are_named_with_the_value_that_is_there() {
    for (text, unmet) in [
        ("mig && generation >= 8", vec![]),
        ("generation >= 10", vec!["generation >= 10 (it is 9)"]),
        (
            "mig && memory>81GiB && absent && ecc",
            vec!["memory > 81GiB (it is 80GiB)", "absent (it has none)", "ecc (it is false)"],
        ),
        ("(model == A100 && mig)", vec!["model == A100 (it is H100)"]),
        ("driver >= v560.0", vec!["driver >= 560.0 (it is 550.54.15)"]),
        ("model in [A100, \"B 200\"]", vec!["model in [A100, \"B 200\"] (it is H100)"]),
        ("code == 8", vec!["code == 8 (it is \"8\")"]),
        ("label == \"Länge\"", vec!["label == \"Länge\" (it is \"Größe 8\")"]),
        ("model == \"\"", vec!["model == \"\" (it is H100)"]),
        ("ecc || model == A100 && mig", vec!["(ecc || (model == A100 && mig))"]),
        ("mig && !(mig && generation == 9)", vec!["!(mig && generation == 9)"]),
    ] {
        assert_eq!(selector(text).unmet(&gpu()), unmet, "{text}");
    }
}

#[test]
fn a_selector_is_shown_as_it_was_written() {
    let written = selector("  memory>=40GiB&&( mig )  ");
    assert_eq!(written.to_string(), "memory>=40GiB&&( mig )");
    assert_eq!(format!("{written:?}"), "\"memory>=40GiB&&( mig )\"");
}

/// A clause with whether it holds for [`gpu`].
fn clause() -> impl Strategy<Value = (String, bool)> {
    let leaf = prop::sample::select(vec![
        ("mig", true),
        ("ecc", false),
        ("absent != 1", false),
        ("generation>=9", true),
        ("memory < 80GiB", false),
        ("label == \"Größe 8\"", true),
        ("label == \"(a && b) || !c\"", false),
        ("model in [A100,H100]", true),
        ("driver > 550.9", true),
    ]);
    leaf.prop_map(|(text, holds)| (text.to_owned(), holds)).prop_recursive(4, 24, 3, |inner| {
        let some = prop::collection::vec(inner.clone(), 1..4);
        let join = |parts: &[(String, bool)], between: &str| {
            let parts: Vec<&str> = parts.iter().map(|(text, _)| text.as_str()).collect();
            format!("({})", parts.join(between))
        };
        prop_oneof![
            inner.prop_map(|(text, holds)| (format!("!({text})"), !holds)),
            some.clone().prop_map(move |parts| (join(&parts, "&&"), parts.iter().all(|(_, holds)| *holds))),
            some.prop_map(move |parts| (join(&parts, " || "), parts.iter().any(|(_, holds)| *holds))),
        ]
    })
}

proptest! {
    #[test]
    fn a_selector_holds_as_its_clauses_say((text, holds) in clause()) {
        let parsed: Selector = text.parse().unwrap();
        prop_assert_eq!(parsed.matches(&gpu()), holds);
        prop_assert_eq!(parsed.unmet(&gpu()).is_empty(), holds);
        prop_assert_eq!(parsed.to_string().parse::<Selector>(), Ok(parsed.clone()));
        let shown = parsed.node.to_string();
        let again: Selector = shown.parse().unwrap();
        prop_assert_eq!(again.node.to_string(), shown);
        prop_assert_eq!(again.matches(&gpu()), holds);
    }

    #[test]
    fn any_text_is_a_selector_or_an_error_that_points_into_it(text in "\\PC{0,60}") {
        match text.parse::<Selector>() {
            Ok(selector) => prop_assert_eq!(selector.to_string().parse(), Ok(selector)),
            Err(error) => prop_assert!((1..=text.chars().count() + 1).contains(&error.column)),
        }
    }

    #[test]
    fn any_row_of_tokens_is_a_selector_or_an_error_that_points_into_it(
        tokens in prop::collection::vec(prop::sample::select(vec![
            "a", "in", "true", "mig", "==", "!=", "<", "<=", ">", ">=", "=", "&&", "||", "&", "|", "!", "(", ")", "[", "]", ",", "\"",
            "\"ö\"", "8", "-3", "40GiB", "1.2", "v1.2", "-", " ", "\u{2003}", "ß", "9223372036854775808",
        ]), 0..12),
    ) {
        let text = tokens.concat();
        match text.parse::<Selector>() {
            Ok(selector) => {
                let unmet = selector.unmet(&gpu());
                prop_assert_eq!(unmet.is_empty(), selector.matches(&gpu()));
                prop_assert_eq!(selector.to_string().parse(), Ok(selector));
            }
            Err(error) => prop_assert!((1..=error.text.chars().count() + 1).contains(&error.column)),
        }
    }
}
