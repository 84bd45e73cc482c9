use proptest::prelude::*;

use super::*;

#[test]
fn ids_of_the_master_are_a_letter_the_term_and_a_counter() {
    assert_eq!("A1-3".parse(), Ok(AgentId::new(Term(1), 3)));
    assert_eq!("F2-7".parse(), Ok(FrameworkId::new(Term(2), 7)));
    assert_eq!(OfferId::new(Term(4), 12).to_string(), "O4-12");
    assert_eq!(format!("{:?}", GangId::new(Term(1), 1)), "G1-1");
    assert_eq!(format!("{:>6}|", AgentId::new(Term(1), 3)), "  A1-3|");
}

#[test]
fn what_is_not_of_that_form_is_refused() {
    for text in [
        "",
        "A",
        "A1",
        "A-",
        "A1-",
        "A-3",
        "1-3",
        "a1-3",
        "F1-3",
        "A1-3-4",
        "A1--3",
        "A+1-3",
        "A1-+3",
        " A1-3",
        "A1-3 ",
        "A1-x",
        "A1-18446744073709551616",
        "Ａ1-3",
        "A1-٣",
    ] {
        let refused = IdError::NotAnId { expected: "A1-3", got: text.to_owned() };
        assert_eq!(text.parse::<AgentId>(), Err(refused), "{text}");
    }
    let error = "x".parse::<OfferId>().unwrap_err();
    assert_eq!(error.to_string(), "expected an id such as O1-3, got \"x\"");
}

#[test]
fn later_ids_sort_after_earlier_ones_also_across_terms() {
    let ids = [AgentId::new(Term(1), 2), AgentId::new(Term(1), 10), AgentId::new(Term(2), 1)];
    assert!(ids.is_sorted());
}

#[test]
fn tasks_have_names_that_can_be_file_names() {
    for name in ["t", "a.b", "...", "job 1".replace(' ', "-").as_str(), "größe", "-x", "a:b", "a\\b"] {
        assert_eq!(TaskId::new(name).unwrap().as_str(), name);
    }
    for name in [".", "..", "a/b", "/", "a b", "a\tb", "a\n", "a\0b", "a\u{2003}b", "\u{85}"] {
        assert_eq!(TaskId::new(name), Err(IdError::BadCharacter(name.to_owned())), "{name:?}");
        assert_eq!(name.parse::<ExecutorId>(), Err(IdError::BadCharacter(name.to_owned())), "{name:?}");
    }
}

#[test]
fn names_are_neither_empty_nor_too_long() {
    assert_eq!(TaskId::new(""), Err(IdError::Empty));
    assert!(TaskId::new(&"x".repeat(TaskId::MAX_LEN)).is_ok());
    assert_eq!(TaskId::new(&"x".repeat(TaskId::MAX_LEN + 1)), Err(IdError::TooLong(TaskId::MAX_LEN + 1)));
    let umlauts = "ä".repeat(TaskId::MAX_LEN / 2 + 1);
    assert_eq!(TaskId::new(&umlauts), Err(IdError::TooLong(TaskId::MAX_LEN + 2)), "the limit is in bytes");
}

#[test]
fn a_task_of_the_cluster_is_shown_with_its_framework() {
    let key = TaskKey::new(FrameworkId::new(Term(1), 2), TaskId::new("build").unwrap());
    assert_eq!(key.to_string(), "F1-2/build");
}

proptest! {
    #[test]
    fn what_is_shown_is_read_back(term: u64, seq: u64) {
        let id = OfferId::new(Term(term), seq);
        prop_assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn any_text_is_a_name_or_an_error(text in "\\PC{0,20}|[a-z./ \t]{0,6}") {
        let good = TaskId::new(&text).map(|id| id.as_str().to_owned());
        let bad = text.is_empty() || text == "." || text == ".." || text.contains(|c: char| c == '/' || c.is_whitespace());
        prop_assert_eq!(good.ok(), (!bad && text.len() <= TaskId::MAX_LEN).then_some(text));
    }
}
