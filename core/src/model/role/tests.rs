use proptest::prelude::*;

use super::*;

fn role(text: &str) -> Role {
    Role::new(text).unwrap()
}

#[test]
fn paths_of_plain_names_are_roles() {
    for text in ["*", "eng", "eng/ci", "a.b-c_d/0", "_", "a/b/c/d/e/f/g/h"] {
        assert_eq!(role(text).as_str(), text);
        assert_eq!(role(text).to_string().parse(), Ok(role(text)));
    }
    assert_eq!(role("eng/ci").parts().collect::<Vec<_>>(), ["eng", "ci"]);
    assert_eq!(Role::any(), role("*"));
}

#[test]
fn what_is_no_path_of_plain_names_is_refused() {
    for text in [
        "",
        "/",
        "eng/",
        "/eng",
        "eng//ci",
        ".",
        "..",
        "eng/..",
        "-eng",
        "eng/.ci",
        "eng/*",
        "**",
        "eng ci",
        " eng",
        "eng\n",
        "eng\\ci",
        "größe",
        "a/b/c/d/e/f/g/h/i",
    ] {
        assert_eq!(Role::new(text), Err(RoleError(text.to_owned())), "{text}");
    }
    assert!(Role::new(&"a".repeat(Role::MAX_LEN)).is_ok());
    assert!(Role::new(&"a".repeat(Role::MAX_LEN + 1)).is_err());
}

#[test]
fn a_role_lies_below_those_that_its_path_goes_through() {
    for (below, above) in [("eng/ci", "eng"), ("eng/ci/fast", "eng"), ("eng/ci/fast", "eng/ci")] {
        assert!(role(below).is_below(&role(above)), "{below} below {above}");
        assert!(!role(above).is_below(&role(below)), "{above} not below {below}");
    }
    for (one, other) in [("eng", "eng"), ("engine", "eng"), ("eng2/ci", "eng"), ("web", "eng"), ("eng", "*")] {
        assert!(!role(one).is_below(&role(other)), "{one} not below {other}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_role_that_is_shown_as_it_was_written_or_an_error(text in "\\PC{0,40}|[a-z0-9./*_-]{0,40}") {
        if let Ok(role) = text.parse::<Role>() {
            prop_assert_eq!(role.as_str(), &text);
            prop_assert!(!role.is_below(&role));
        }
    }
}
