//! What machines cost: told by hand, fed from a file and from an address, and heeded by a job that waits for cheap machines.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};

use rialto_master::api;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::harness::{Cluster, Process, wait_until};

/// The price of spot machines of G2, as the master knows it.
fn spot(cluster: &Cluster) -> Option<f64> {
    let answer = cluster.get("/api/prices").expect("the master answers");
    let prices: api::Prices = serde_json::from_str(&answer.body).expect("the API answers in its own form");
    prices.prices.iter().find(|row| row.pool == "G2" && row.class == "spot").map(|row| row.price)
}

fn table(price: &str) -> String {
    format!("pool,class,price\nG2,spot,{price}\n")
}

#[test]
fn a_job_for_cheap_machines_waits_until_the_feed_tells_a_lower_price() {
    let cluster = Cluster::start(&[]);
    let folder = cluster.name_of("spot");
    let args = ["agent", "--name", "spot", "--work-dir", &folder, "--resources", "cpus:8;mem:8192"];
    let is_spot = ["--attribute", "pool=G2", "--attribute", "price_class=spot"];
    let _agent = cluster.start_process("spot", &mut cluster.command(&[&args[..], &is_spot].concat()));
    cluster.wait_for_agents(1);
    let prices = cluster.write("prices.csv", &table("0.5"));
    let mut feed = cluster.spawn(&["price", "feed", "--file", &prices, "--every", "50ms"]);
    feed.line("the first price", |line| (line == "G2 spot: 0.5").then_some(()));
    cluster.write("input.txt", "one\n");
    let job = "name = \"cheap\"\n[[stage]]\nname = \"copy\"\nfiles = \"input.txt\"\nmax_price = 0.35\ncpus = 1\nmem = 64\n\
               command = 'cat \"$RIALTO_INPUT\" > \"$RIALTO_OUTPUT\"'\n[result]\nstage = \"copy\"\nto = \"result.txt\"\n";
    let job = cluster.write("job.toml", job);
    let mut run = cluster.spawn(&["analytics", "run", &job]);
    run.line("that it is held back", |line| {
        line.contains("held back until a machine costs at most 0.35").then_some(())
    });

    cluster.write("prices.csv", &table("cheap"));
    feed.line("what is broken", |line| line.contains("prices.csv:2: price: expected a number").then_some(()));
    assert_eq!(spot(&cluster), Some(0.5), "the last price stays");
    assert!(cluster.tasks().is_empty() && run.is_running());

    cluster.write("prices.csv", &table("0.35"));
    feed.line("the lower price", |line| (line == "G2 spot: 0.35, was 0.5").then_some(()));
    let ended = run.finish();
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    assert_eq!(std::fs::read_to_string(cluster.path("result.txt")).expect("there is a result"), "one\n");
    let metrics = cluster.get("/metrics").expect("the master answers").body;
    assert!(metrics.contains("rialto_master_price{pool=\"G2\",class=\"spot\",region=\"\"} 0.35"), "{metrics}");
}

/// A server on loopback that answers each request with what it is given next, and the last again and again; `None` is no answer at all.
fn serve() -> (String, Sender<Option<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let url = format!("http://{}/prices", listener.local_addr().expect("it is bound"));
    let (answers_in, answers) = mpsc::channel::<Option<String>>();
    std::thread::spawn(move || {
        let Ok(mut answer) = answers.recv() else { return };
        let mut silent = Vec::new();
        for stream in listener.incoming().map_while(Result::ok) {
            answer = answers.try_iter().last().unwrap_or(answer);
            match &answer {
                Some(text) => respond(stream, text),
                None => silent.push(stream),
            }
        }
    });
    (url, answers_in)
}

fn respond(mut stream: TcpStream, text: &str) {
    let head = BufReader::new(stream.try_clone().expect("it is open")).lines();
    let _head: Vec<_> = head.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    // Whoever has gone away meanwhile asks again.
    let _gone = stream.write_all(text.as_bytes());
}

fn ok(body: &str) -> Option<String> {
    Some(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()))
}

#[test]
fn prices_come_from_an_address_and_stay_while_it_is_broken_or_silent() {
    let cluster = Cluster::start(&[]);
    let (url, answers) = serve();
    let say = |answer: Option<String>| answers.send(answer).expect("the server runs");
    say(ok("[{\"pool\": \"G2\", \"class\": \"spot\", \"price\": 0.5}]"));
    let once = cluster.rialto(&["price", "feed", "--url", &url, "--once"]);
    assert_eq!((once.code, once.stdout.as_str()), (0, "G2 spot: 0.5\n"), "{}", once.stderr);
    let mut feed = cluster.spawn(&["price", "feed", "--url", &url, "--every", "20ms", "--timeout", "200ms"]);
    feed.line("the first price", |line| (line == "G2 spot: 0.5").then_some(()));
    let broken = |answer: Option<String>, says: &str, feed: &mut Process| {
        say(answer);
        feed.line(says, |line| line.contains(says).then_some(()));
        assert_eq!(spot(&cluster), Some(0.5), "the last price stays");
    };
    let unavailable = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    broken(Some(unavailable.to_owned()), "the server answers 503", &mut feed);
    broken(ok("[{\"pool\": \"G2\"}]"), "prices[0]: price: expected a number, got nothing", &mut feed);
    broken(None, "no answer within 200ms; the prices stay as they are, next reading in", &mut feed);
    say(ok("{\"prices\": [{\"pool\": \"G2\", \"class\": \"spot\", \"price\": \"0.35\"}]}"));
    feed.line("the next price", |line| (line == "G2 spot: 0.35, was 0.5").then_some(()));
    wait_until("the master knows it", || spot(&cluster) == Some(0.35));
}

/// A server on loopback that answers over TLS: its address, and the certificate that vouches for it.
fn serve_over_tls(answer: String) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("it can be made");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("it has just been written");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key));
    let config = Arc::new(config.expect("the certificate is that of the key"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let url = format!("https://{}/prices", listener.local_addr().expect("it is bound"));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = ServerConnection::new(config.clone()).expect("the configuration is whole");
            let mut stream = StreamOwned::new(connection, stream);
            let head = BufReader::new(&mut stream).lines().map_while(Result::ok);
            let asked = head.take_while(|line| !line.is_empty()).count() > 0;
            // Who does not trust the server says so and asks nothing.
            if asked {
                let _gone = stream.write_all(answer.as_bytes()).and_then(|()| stream.flush());
                stream.conn.send_close_notify();
                let _told = stream.flush();
            }
        }
    });
    (url, made.cert.pem())
}

#[test]
fn prices_come_over_tls_from_whom_the_feed_is_told_to_trust() {
    let cluster = Cluster::start(&[]);
    let (url, certificate) =
        serve_over_tls(ok("[{\"pool\": \"G2\", \"class\": \"spot\", \"price\": 0.5}]").expect("an answer"));
    let ca = cluster.write("ca.pem", &certificate);
    let stranger = cluster.rialto(&["price", "feed", "--url", &url, "--once"]);
    assert_eq!(stranger.code, 1, "{}{}", stranger.stdout, stranger.stderr);
    assert!(stranger.stderr.contains("certificate"), "{}", stranger.stderr);
    assert_eq!(spot(&cluster), None);
    let known = cluster.rialto(&["price", "feed", "--url", &url, "--url-ca", &ca, "--once"]);
    assert_eq!((known.code, known.stdout.as_str()), (0, "G2 spot: 0.5\n"), "{}", known.stderr);
    assert_eq!(spot(&cluster), Some(0.5));
}

#[test]
fn prices_are_told_by_hand_and_what_is_wrong_is_named() {
    let mut cluster = Cluster::start(&[]);
    let says = |cluster: &Cluster, args: &[&str], code: i32, says: &str| {
        let ended = cluster.rialto(args);
        assert_eq!(ended.code, code, "{args:?}: {}{}", ended.stdout, ended.stderr);
        let said = ended.stdout + &ended.stderr;
        assert!(said.contains(says), "{args:?}: {said}");
    };
    says(&cluster, &["price"], 0, "no price is known");
    says(&cluster, &["price", "set", "G2", "spot", "0.35"], 0, "G2 spot: 0.35\n");
    says(&cluster, &["price", "set", "G2", "on_demand", "1.4", "--region", "eu"], 0, "G2 on_demand in eu: 1.4\n");
    let mut master = cluster.take_master();
    master.kill9();
    cluster.start_master();
    let shown = cluster.rialto(&["price"]).stdout;
    let words: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[1][..4], ["G2", "on_demand", "eu", "1.4"], "{shown}");
    assert_eq!(words[2][..3], ["G2", "spot", "0.35"], "{shown}");
    says(&cluster, &["price", "remove", "G2", "spot"], 0, "G2 spot: not known\n");
    assert_eq!(spot(&cluster), None);
    says(&cluster, &["price", "set", "G2", "cheap", "1"], 2, "expected on_demand, reserved or spot");
    says(&cluster, &["price", "set", "G2", "spot", "dear"], 2, "expected a number from 0");
    says(&cluster, &["price", "set", "G 2", "spot", "1"], 1, "pool: expected 1 to 64 letters");
    says(&cluster, &["price", "feed", "--file", "no-such-file", "--once"], 1, "no-such-file");
    says(
        &cluster,
        &["price", "feed", "--url", "ftp://nowhere", "--once"],
        1,
        "--url ftp://nowhere: expected an address",
    );
    says(&cluster, &["price", "feed", "--once"], 2, "--file <FILE>");
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    says(&cluster, &["price", "feed", "--url", &format!("http://{nobody}/"), "--once"], 1, "http://127.0.0.1");
}
