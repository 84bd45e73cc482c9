//! Just enough of HTTP to read pages.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use super::PATIENCE;

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// 200 and so on.
    pub(crate) status: u16,
    /// What came after the head.
    pub(crate) body: String,
}

/// `GET path` at `address` (`HOST:PORT`), presenting a token if there is one.
pub(crate) fn get(address: &str, path: &str, token: Option<&str>) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let authorization = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    // Version 1.0, so that the end of the body is the end of the connection and nothing comes in chunks.
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {address}\r\n{authorization}\r\n")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    parse(&String::from_utf8_lossy(&bytes)).ok_or_else(|| io::Error::other("an answer that is no HTTP"))
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}
