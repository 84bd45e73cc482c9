use std::time::Duration;

use super::args::{Added, addition};

#[test]
fn machines_that_come_are_read() {
    let added = |count, like: &str, after| Added { count, like: like.to_owned(), after };
    assert_eq!(addition("2:alpha"), Ok(added(2, "alpha", Duration::ZERO)));
    assert_eq!(addition("1:a b@3 weeks"), Ok(added(1, "a b", Duration::from_secs(3 * 7 * 86_400))));
    for text in ["alpha", "0:alpha", "x:alpha", "2:", "2:alpha@soon", "2:@1 h"] {
        let error = addition(text).expect_err(text);
        assert!(error.starts_with("expected"), "{text}: {error}");
    }
}
