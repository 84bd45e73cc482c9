//! The conditions of `rules: if`.

use crate::spec::Variables;
use crate::spec::condition::Condition;

fn variables() -> Variables {
    let pairs =
        [("BRANCH", "release/1.2"), ("EMPTY", ""), ("SAME", "release/1.2"), ("PATTERN", "/^REL/i"), ("BAD", "x")];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn holds(text: &str) -> bool {
    Condition::parse(text).unwrap().holds(&variables()).unwrap()
}

#[test]
fn these_hold() {
    for text in [
        "$BRANCH",
        "$BRANCH == $SAME",
        "$BRANCH == 'release/1.2'",
        "\"release/1.2\"==$BRANCH",
        "$EMPTY == \"\"",
        "$EMPTY != null",
        "$NOWHERE == null",
        "$NOWHERE != \"\"",
        r"$BRANCH =~ /^release\/\d+\.\d+$/",
        "$BRANCH =~ /RELEASE/i",
        r"$BRANCH =~ /^\w{1,40}.\d+/",
        "$BRANCH =~ $PATTERN",
        "$BRANCH !~ /^main$/",
        "$NOWHERE !~ /x/",
        "$NOWHERE || $BRANCH",
        "$NOWHERE && $NOWHERE || $BRANCH",
        "($NOWHERE || $BRANCH) && $SAME",
        "((('x')))",
    ] {
        assert!(holds(text), "{text}");
    }
}

#[test]
fn these_do_not() {
    for text in [
        "$EMPTY",
        "$NOWHERE",
        "null",
        "\"\"",
        "$NOWHERE == \"\"",
        "$BRANCH == \"release\"",
        "$BRANCH =~ /RELEASE/",
        "$NOWHERE =~ /.*/",
        "$BRANCH && $EMPTY",
        "$BRANCH && ($NOWHERE || $EMPTY)",
    ] {
        assert!(!holds(text), "{text}");
    }
}

#[track_caller]
fn refused(text: &str, offset: usize, reason: &str) {
    let refused = Condition::parse(text).and_then(|condition| condition.holds(&variables()).map(|_| ())).unwrap_err();
    assert_eq!((refused.offset, refused.reason.as_str()), (offset, reason), "{text}");
}

#[test]
fn bad_conditions_say_where_and_why() {
    refused("", 0, "expected `$NAME`, a quoted string, `null` or `(`");
    refused("$A ==", 5, "expected `$NAME`, a quoted string, `null` or `(`");
    refused("$A $B", 3, "expected `&&`, `||` or the end");
    refused("$A == $B == $C", 9, "expected `&&`, `||` or the end");
    refused("$A == \"x", 6, "the string has no closing \"");
    refused("$A =~ /x", 6, "the pattern has no closing /");
    refused("$A =~ /x\\", 6, "the pattern has no closing /");
    refused("$A =~ /(/", 6, "the pattern does not compile: unclosed group");
    refused("$A =~ /x/q", 6, "unknown pattern flag `q`, expected one of i, m, s, U, x");
    refused("$A =~ /(\\w{200}){200}/", 6, "the pattern does not compile: it is too large");
    refused("$A =~ \"x\"", 6, "expected a pattern such as /text/, or `$NAME`");
    refused("$BRANCH =~ $BAD", 11, "`$BAD` holds no pattern such as /text/");
    refused("$", 0, "expected a variable's name behind `$`");
    refused("nullx", 0, "expected `$NAME`, a quoted string, `null` or `(`");
    refused("$A)", 2, "expected `&&`, `||` or the end");
    refused(&"(".repeat(100), 33, "expected at most 32 levels of `(`");
    refused(&" ".repeat(5_000), 0, "expected at most 4096 bytes");
}
