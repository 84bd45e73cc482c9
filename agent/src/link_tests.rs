use super::*;

fn dialer(master: &str, token: Option<&str>) -> Result<Dialer, AgentError> {
    let mut options = Options::new(master, "/tmp", "/bin/true");
    options.token = token.map(str::to_owned);
    Dialer::new(&options)
}

#[tokio::test]
async fn an_address_with_or_without_a_scheme_is_taken() {
    for master in ["localhost:5050", "127.0.0.1:1", "[::1]:5050", "http://master", "https://master.example:443"] {
        dialer(master, None).unwrap_or_else(|error| panic!("{master}: {error}"));
    }
}

#[tokio::test]
async fn what_is_no_address_says_what_was_expected() {
    let error = dialer("master", None).expect_err("it has no port").to_string();
    assert_eq!(
        error,
        "master address \"master\": expected host:port or a URL with http or https (host and port are needed)"
    );
}

#[tokio::test]
async fn a_token_is_presented_and_never_shown() {
    let mut dialer = dialer("localhost:5050", Some("secret\n")).expect("it is well formed");
    assert!(!format!("{dialer:?}").contains("secret"));
    let request = dialer.token.call(Request::new(())).expect("it is never refused");
    assert_eq!(request.metadata().get("authorization").expect("it is there"), "Bearer secret");
}

#[tokio::test]
async fn a_token_that_is_none_is_refused() {
    assert!(matches!(dialer("localhost:5050", Some("two\nlines")), Err(AgentError::Token)));
}

#[test]
fn pauses_differ_and_stay_within_bounds() {
    for _ in 0..100 {
        let pause = jitter(Duration::from_secs(1));
        assert!((Duration::from_millis(500)..=Duration::from_secs(1)).contains(&pause), "{pause:?}");
    }
}
