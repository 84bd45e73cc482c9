use super::*;

#[test]
fn logins_are_read_as_docker_writes_them_and_never_shown() {
    let text = r#"{"auths": {"registry.example:5000": {"auth": "dGVzdGVyOnMzY3JldA=="}}, "credsStore": "other"}"#;
    let logins = Login::read(text).expect("it is well formed");
    assert_eq!(logins["registry.example:5000"].header(), "Basic dGVzdGVyOnMzY3JldA==");
    assert!(!format!("{logins:?}").contains("dGVz"));
}

#[test]
fn a_login_that_can_not_be_used_is_named() {
    for (text, why) in [
        (r#"{"auths": {"a": {"auth": "not base64"}}}"#, "auths.a.auth"),
        (r#"{"auths": {"a": {}}}"#, "auths.a.auth"),
        (r#"{"auth": {}}"#, "missing field `auths`"),
    ] {
        let error = Login::read(text).expect_err("it is refused").to_string();
        assert!(error.contains(why), "{error}");
    }
}
