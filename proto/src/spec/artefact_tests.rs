use super::*;

const DIGEST: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

fn refused(text: &str, field: &str) {
    let error = text.parse::<Artefact>().expect_err("it is not acceptable");
    assert_eq!(error.field, field, "{error}");
}

#[test]
fn an_artefact_is_a_uri_with_options_behind_it() {
    let text = format!("https://host/a,b.tar.gz?x=1,to=src/dir,sha256={DIGEST},extract,signature=https://host/sig");
    let artefact: Artefact = text.parse().expect("it is well formed");
    assert_eq!(artefact.uri, "https://host/a,b.tar.gz?x=1");
    assert_eq!((&*artefact.destination, artefact.extract, artefact.executable), ("src/dir", true, false));
    assert_eq!(artefact.sha256.map(|digest| digest.to_string()).as_deref(), Some(DIGEST));
    assert_eq!(artefact.signature.as_deref(), Some("https://host/sig"));
    assert_eq!("file:///a,b".parse(), Ok(Artefact::new("file:///a,b")));
    assert_eq!(Artefact::from_wire(artefact.to_wire()), Ok(artefact));
}

#[test]
fn what_is_no_artefact_says_which_part() {
    refused("", "uri");
    refused("no-scheme", "uri");
    refused("https:", "uri");
    refused("https://host/a\nb", "uri");
    for path in ["/etc/passwd", "../a", "a/../b", "a//b", "./a", "a/"] {
        refused(&format!("https://host/a,to={path}"), "destination");
    }
    refused("https://host/a,sha256=abc", "sha256");
    refused(&format!("https://host/a,sha256=+{}", &DIGEST[1..]), "sha256");
    refused("https://host/a,extract,executable", "executable");
}
