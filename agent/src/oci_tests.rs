use super::*;

#[test]
fn a_runtime_is_asked_for_by_a_word_a_name_or_a_path() {
    let of = |text: &str| text.parse::<OciRuntime>().expect("everything is one");
    assert_eq!(of("none"), OciRuntime::Own);
    assert_eq!(of("auto"), OciRuntime::Installed);
    assert_eq!(of("/opt/bin/runc"), OciRuntime::Program("/opt/bin/runc".into()));
}

#[test]
fn one_that_is_not_installed_or_does_not_run_is_named() {
    let of = |text: &str| {
        let error = text.parse::<OciRuntime>().expect("it is one").find(&Isolation::default());
        error.expect_err("it can't be used").to_string()
    };
    assert_eq!(of("no-such-runtime"), "oci runtime: expected one that is installed, found no no-such-runtime");
    assert_eq!(of("/no/such/runtime"), "oci runtime: expected one that is installed, found no /no/such/runtime");
    assert!(
        of("/bin/false").starts_with("oci runtime: /usr/bin/false --version: exit status: 1"),
        "{}",
        of("/bin/false")
    );
    assert!(of("/bin/true").contains("expected an agent with namespaces"), "{}", of("/bin/true"));
}
