use std::os::unix::fs::PermissionsExt;

use axum::http::HeaderValue;

use super::*;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn guard() -> Guard {
    Guard::new(Some(Token::new(TOKEN).unwrap()), Reach::Loopback)
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
        .collect()
}

fn get(guard: &Guard, pairs: &[(&'static str, &str)]) -> Result<(), Refused> {
    guard.check(&Method::GET, &headers(pairs), Some("localhost:5050"))
}

#[test]
fn a_token_is_asked_for_and_compared() {
    let bearer = |token: &str| get(&guard(), &[("authorization", &format!("Bearer {token}"))]);
    assert_eq!(bearer(TOKEN), Ok(()));
    assert_eq!(bearer("0123456789abcdef0123456789abcdee"), Err(Refused::Unauthenticated));
    assert_eq!(bearer(""), Err(Refused::Unauthenticated));
    assert_eq!(get(&guard(), &[]), Err(Refused::Unauthenticated));
    assert_eq!(get(&guard(), &[("authorization", TOKEN)]), Err(Refused::Unauthenticated));
}

#[test]
fn the_session_cookie_stands_for_the_token_and_does_not_hold_it() {
    let session = guard().log_in(TOKEN).unwrap();
    assert!(!session.contains(TOKEN));
    assert_eq!(get(&guard(), &[("cookie", &format!("a=b; rialto_session={session}"))]), Ok(()));
    assert_eq!(get(&guard(), &[("cookie", "rialto_session=00")]), Err(Refused::Unauthenticated));
    assert_eq!(guard().log_in("wrong"), None);
}

#[test]
fn pages_from_elsewhere_change_nothing() {
    let open = Guard::new(None, Reach::Loopback);
    let post = |origin: &str| open.check(&Method::POST, &headers(&[("origin", origin)]), Some("127.0.0.1:5050"));
    assert_eq!(post("http://127.0.0.1:5050"), Ok(()));
    assert_eq!(post("https://evil.example"), Err(Refused::ForeignOrigin));
    assert_eq!(post("null"), Err(Refused::ForeignOrigin));
    assert_eq!(open.check(&Method::POST, &HeaderMap::new(), Some("127.0.0.1:5050")), Ok(()));
}

#[test]
fn a_foreign_name_for_loopback_is_refused_where_no_token_protects() {
    let open = |host: &str| Guard::new(None, Reach::Loopback).check(&Method::GET, &HeaderMap::new(), Some(host));
    for host in ["localhost", "localhost:1", "127.0.0.1:5050", "[::1]:5050"] {
        assert_eq!(open(host), Ok(()), "{host}");
    }
    assert_eq!(open("evil.example:5050"), Err(Refused::ForeignHost));
    let anywhere = Guard::new(None, Reach::Network);
    assert_eq!(anywhere.check(&Method::GET, &HeaderMap::new(), Some("master.example:5050")), Ok(()));
}

#[test]
fn principals_are_named_or_default() {
    assert_eq!(principal(&headers(&[("rialto-principal", "ci")]), "framework").as_str(), "ci");
    assert_eq!(principal(&headers(&[("rialto-principal", "two words")]), "framework").as_str(), "framework");
    assert_eq!(principal(&HeaderMap::new(), "agent").as_str(), "agent");
}

#[test]
fn the_bootstrap_token_is_made_once_and_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let first = Token::bootstrap(dir.path()).unwrap();
    assert_eq!(first.as_str().len(), 64);
    assert_eq!(Token::bootstrap(dir.path()).unwrap(), first);
    let mode = std::fs::metadata(dir.path().join(TOKEN_FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!format!("{first:?}").contains(first.as_str()));
}

#[test]
fn a_short_token_and_a_missing_file_are_refused_by_name() {
    assert!(Token::new("short").unwrap_err().to_string().contains("at least 16"));
    let error = Token::read(Path::new("/nonexistent/token")).unwrap_err().to_string();
    assert!(error.starts_with("token file /nonexistent/token: "), "{error}");
}
