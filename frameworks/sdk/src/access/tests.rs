use super::*;

fn shown(text: &str) -> Result<String, String> {
    text.parse::<Address>().map(|address| address.to_string()).map_err(|error| error.to_string())
}

#[test]
fn addresses_that_are_understood() {
    for (text, shows) in [
        ("localhost:5050", "http://localhost:5050"),
        ("http://10.0.0.1:80/", "http://10.0.0.1:80"),
        ("https://master.example:443", "https://master.example:443"),
        ("[::1]:5050", "http://[::1]:5050"),
    ] {
        assert_eq!(shown(text), Ok(shows.to_owned()));
    }
}

#[test]
fn addresses_that_are_not() {
    for (text, problem) in [
        ("localhost", "there is no port"),
        ("ftp://localhost:21", "the scheme is another"),
        ("localhost:0", "the port is no number"),
        ("localhost:x", "the port is no number"),
        (":5050", "the host is no name"),
        ("::1:5050", "the host is no name"),
        ("a b:5050", "the host is no name"),
    ] {
        let error = shown(text).expect_err(text);
        assert!(error.contains(problem) && error.contains("HOST:PORT"), "{error}");
    }
}

#[test]
fn the_token_is_not_shown() {
    let access = Access::new("localhost:1").expect("an address").with_token("sesame\n").expect("a token");
    assert_eq!(format!("{access:?}"), "Access(http://localhost:1, token: yes)");
    let mut metadata = MetadataMap::new();
    access.sign(&mut metadata);
    assert_eq!(metadata.get("authorization").and_then(|value| value.to_str().ok()), Some("Bearer sesame"));
}

#[test]
fn encryption_needs_an_authority() {
    let error = Access::new("https://localhost:1").expect("an address").endpoint().expect_err("no authority");
    assert!(matches!(error, AccessError::NoAuthority(_)));
}
