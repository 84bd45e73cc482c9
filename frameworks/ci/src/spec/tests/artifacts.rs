//! Which paths are kept.

use crate::spec::ArtifactPaths;

#[track_caller]
fn check(pattern: &str, kept: &[&str], left: &[&str]) {
    let paths = ArtifactPaths::new(&[pattern.to_owned()]).unwrap();
    for path in kept {
        assert!(paths.matches(path), "{pattern} keeps {path}");
    }
    for path in left {
        assert!(!paths.matches(path), "{pattern} leaves {path}");
    }
}

#[test]
fn globs() {
    check("a.txt", &["a.txt"], &["b.txt", "x/a.txt", "a.txt.bak"]);
    check("*.txt", &["a.txt", ".txt"], &["x/a.txt"]);
    check("**/*.txt", &["a.txt", "x/a.txt", "x/y/a.txt"], &["a.txt.bak"]);
    check("x/?", &["x/a", "x/a/below"], &["x/ab", "x/"]);
    check("x/**/z", &["x/z", "x/y/z", "x/y/y/z"], &["x/y"]);
    check("{a,b}/[0-9]", &["a/1", "b/2"], &["c/1", "a/x"]);
}

#[test]
fn a_directory_means_everything_below() {
    check("target/doc/", &["target/doc/a", "target/doc/x/.b"], &["target/x", "target/docs/a"]);
    check("./target", &["target/a/b", "target"], &["x/target"]);
    check("*/out", &["x/out/a/b"], &["out/a"]);
    check(".", &["a", "x/y", ".hidden"], &[]);
}

#[test]
fn several_patterns_add_up() {
    let paths = ArtifactPaths::new(&["a".to_owned(), "b/*.o".to_owned()]).unwrap();
    assert!(paths.matches("a/x") && paths.matches("b/x.o"));
    assert!(!paths.matches("b/x.c"));
    assert_eq!(paths.patterns(), ["a", "b/*.o"]);
}

#[test]
fn paths_outside_are_refused() {
    for pattern in ["..", "../a", "a/../b", "a/..", "/", "/a", "", "  "] {
        assert!(ArtifactPaths::new(&[pattern.to_owned()]).is_err(), "{pattern:?}");
    }
}
