use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use rialto_proto::spec::Artefact;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::tests::images;
use super::*;
use crate::images::Login;

/// Base64 of `tester:s3cret`.
const AUTH: &str = "dGVzdGVyOnMzY3JldA==";
/// SHA-256 of `hello` and a line feed.
const HELLO: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

/// A server with TLS that wants a login for what is below `/private`, and notes who asks.
struct Server {
    address: SocketAddr,
    /// PEM.
    certificate: Vec<u8>,
    asked: Arc<Mutex<Vec<(String, bool)>>>,
}

impl Server {
    fn start() -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("it can be made");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("they are supported").with_no_client_auth();
        let config =
            Arc::new(config.with_single_cert(vec![made.cert.der().clone()], key).expect("they belong together"));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let asked: Arc<Mutex<Vec<(String, bool)>>> = Arc::default();
        let noted = asked.clone();
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = ServerConnection::new(config.clone()).expect("the configuration is good");
                let mut stream = StreamOwned::new(connection, stream);
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|len| len == 1) {
                    request.push(byte[0]);
                }
                let request = String::from_utf8_lossy(&request).into_owned();
                let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                let known = request
                    .to_ascii_lowercase()
                    .contains(&format!("authorization: basic {}", AUTH.to_ascii_lowercase()));
                if !path.is_empty() {
                    noted.lock().expect("nobody panics").push((path.clone(), known));
                }
                // A client that does not trust the certificate is gone by now.
                let _gone = stream.write_all(&answer(&path, known));
                stream.conn.send_close_notify();
                let _gone = stream.flush();
            }
        });
        Self { address, certificate: made.cert.pem().into_bytes(), asked }
    }

    fn asked(&self) -> Vec<(String, bool)> {
        self.asked.lock().expect("nobody panics").clone()
    }
}

fn answer(path: &str, known: bool) -> Vec<u8> {
    let ok = |body: &str| format!("200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    let to = |place: &str| format!("302 Found\r\nlocation: {place}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let rest = match path {
        "/hello" | "/private/hello" if known || path == "/hello" => ok("hello\n"),
        "/private/tampered" if known => ok("hellO\n"),
        "/private/moved" if known => to("/private/hello"),
        path if path.starts_with("/private") => {
            "401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned()
        }
        path if path.starts_with("/away/") => to(&format!("https://{}", &path["/away/".len()..])),
        _ => "404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
    };
    format!("HTTP/1.1 {rest}").into_bytes()
}

struct Fetched {
    folder: tempfile::TempDir,
    fetcher: Fetcher,
}

/// A fetcher that trusts these servers, and has a login for the first if `auth` is one.
fn fetcher(servers: &[&Server], auth: Option<&str>) -> Fetched {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(folder.path().join("sandbox")).expect("it can be made");
    let host = servers[0].address.to_string();
    let logins = auth.map(|auth| serde_json::json!({"auths": {host: {"auth": auth}}}).to_string());
    let policy = FetchPolicy {
        tls_ca: Some(servers.iter().flat_map(|server| server.certificate.clone()).collect()),
        logins: logins.map_or_else(BTreeMap::new, |logins| Login::read(&logins).expect("they are well formed")),
        ..FetchPolicy::default()
    };
    let fetcher = Fetcher::new(policy, &folder.path().join("work")).expect("it can be made");
    Fetched { folder, fetcher }
}

impl Fetched {
    async fn fetch(&self, uri: &str) -> Result<String, FetchError> {
        let mut artefact = Artefact::new(uri);
        artefact.sha256 = Some(HELLO.parse().expect("a digest"));
        let role = "eng/ci".parse().expect("a good role");
        let sandbox = self.folder.path().join("sandbox");
        let name = sandbox.join(uri.rsplit('/').next().expect("it has a name"));
        let job = Job { artefacts: vec![artefact], role, sandbox, owner: None };
        self.fetcher.fetch(&job, &images(self.folder.path())).await?;
        Ok(fs::read_to_string(name).expect("it was fetched"))
    }

    async fn refused(&self, uri: &str) -> String {
        self.fetch(uri).await.expect_err("it is not given").to_string()
    }

    fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path().join("sandbox")).expect("it exists").flatten();
        entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name != "fetch.log")
            .collect()
    }
}

#[tokio::test]
async fn an_artefact_comes_over_tls_from_a_server_that_is_trusted() {
    let server = Server::start();
    let uri = format!("https://{}/hello", server.address);
    assert_eq!(fetcher(&[&server], None).fetch(&uri).await.expect("it is trusted"), "hello\n");
    let stranger = Server::start();
    let error = fetcher(&[&stranger], None).refused(&uri).await;
    assert!(error.contains("certificate"), "{error}");
}

#[tokio::test]
async fn a_login_opens_what_is_not_for_everybody() {
    let server = Server::start();
    let private = format!("https://{}/private/", server.address);
    let known = fetcher(&[&server], Some(AUTH));
    assert_eq!(known.fetch(&format!("{private}hello")).await.expect("it is given"), "hello\n");
    let again = fetcher(&[&server], Some(AUTH));
    assert_eq!(again.fetch(&format!("{private}moved")).await.expect("it is given there too"), "hello\n");
    let log = fs::read_to_string(again.folder.path().join("sandbox/fetch.log")).expect("there is a log");
    assert!(!log.contains(AUTH) && !log.contains("s3cret"), "{log}");
    let error = fetcher(&[&server], None).refused(&format!("{private}hello")).await;
    assert!(error.contains("the server wants a login, and this agent has none"), "{error}");
    // Of tester:wrong.
    let error = fetcher(&[&server], Some("dGVzdGVyOndyb25n")).refused(&format!("{private}hello")).await;
    assert!(error.contains("does not take this agent's login"), "{error}");
}

#[tokio::test]
async fn what_was_tampered_with_is_refused_whoever_asks() {
    let server = Server::start();
    let known = fetcher(&[&server], Some(AUTH));
    let error = known.refused(&format!("https://{}/private/tampered", server.address)).await;
    assert!(error.contains("sha256: expected 5891"), "{error}");
    assert_eq!(known.left(), Vec::<String>::new());
}

#[tokio::test]
async fn a_login_is_told_to_nobody_else() {
    let (server, other) = (Server::start(), Server::start());
    let known = fetcher(&[&server, &other], Some(AUTH));
    let away = format!("https://{}/away/{}/hello", server.address, other.address);
    assert_eq!(known.fetch(&away).await.expect("it is given to everybody"), "hello\n");
    assert!(server.asked().iter().all(|(_, known)| *known) && !server.asked().is_empty());
    assert_eq!(other.asked(), [("/hello".to_owned(), false)]);
    let policy = &known.fetcher.policy;
    let uri = |text: String| text.parse::<Uri>().expect("it is one");
    assert!(policy.login(&uri(format!("http://{}/private/hello", server.address))).is_empty(), "not in the clear");
    assert!(!policy.login(&uri(format!("https://{}/private/hello", server.address))).is_empty());
}
