//! A small blocking HTTP/1.1 client: one request, one connection, bounded in time. Never a retry, never a redirect.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// Longest silence of the peer.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Bodies above this size ask first whether they are wanted, so that a refusal can be read.
const ASK_FIRST_ABOVE_BYTES: usize = 64 * 1024;

/// An answer.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// A header's value, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON. Numbers keep their text: money must not pass through a float.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in answer {}: {}", self.status, self.text()))
    }

    /// Fails with the body unless the status is `expected`.
    #[track_caller]
    pub(crate) fn expect(self, expected: u16) -> Self {
        assert_eq!(self.status, expected, "status; the answer was {}", self.text());
        self
    }

    /// The problem document (RFC 9457) of a refusal, checked for what every one of them must have.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "status; the answer was {}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.text());
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 10), "a detail that helps: {problem}");
        assert!(problem["retryable"].is_boolean(), "{problem}");
        problem
    }
}

/// Sends one request to `base` (`http://host:port`) and reads the whole answer.
pub(crate) fn request(
    base: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Response> {
    let ask_first = body.len() > ASK_FIRST_ABOVE_BYTES;
    let mut socket = open(base, method, path, headers, body.len(), ask_first)?;
    let mut received = Vec::new();
    if ask_first {
        let end = read_head(&mut socket, &mut received)?;
        if !received.starts_with(b"HTTP/1.1 100") {
            return finish(socket, received);
        }
        received.drain(..end);
    }
    socket.write_all(body)?;
    finish(socket, received)
}

/// Connects and sends the head; the caller sends the body and reads.
pub(crate) fn open(
    base: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body_bytes: usize,
    ask_first: bool,
) -> io::Result<TcpStream> {
    let host = base.strip_prefix("http://").ok_or_else(|| invalid("not an http address"))?;
    let mut socket = TcpStream::connect(host)?;
    socket.set_read_timeout(Some(SILENCE_MAX))?;
    socket.set_write_timeout(Some(SILENCE_MAX))?;
    socket.set_nodelay(true)?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
    if body_bytes > 0 || matches!(method, "POST" | "PUT") {
        head.push_str(&format!("content-length: {body_bytes}\r\n"));
    }
    if ask_first {
        head.push_str("expect: 100-continue\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    socket.write_all(head.as_bytes())?;
    Ok(socket)
}

/// Reads until the blank line behind a head; the offset behind it.
pub(crate) fn read_head(socket: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = [0_u8; 4096];
    loop {
        if let Some(at) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            return Ok(at + 4);
        }
        match socket.read(&mut buffer)? {
            0 => return Err(invalid("the connection ended inside the head")),
            read => received.extend_from_slice(&buffer[..read]),
        }
    }
}

/// Status and headers of a head.
pub(crate) fn parse_head(head: &[u8]) -> io::Result<(u16, Vec<(String, String)>)> {
    let text = std::str::from_utf8(head).map_err(|_| invalid("a head that is not text"))?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Ok((status.ok_or_else(|| invalid("no status line"))?, headers))
}

fn finish(mut socket: TcpStream, mut received: Vec<u8>) -> io::Result<Response> {
    let end = read_head(&mut socket, &mut received)?;
    let (status, headers) = parse_head(&received[..end])?;
    let mut rest = received.split_off(end);
    let find = |name: &str| headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
    let length: Option<usize> = find("content-length").and_then(|value| value.parse().ok());
    match length {
        Some(length) => {
            let mut missing = vec![0; length.saturating_sub(rest.len())];
            socket.read_exact(&mut missing)?;
            rest.append(&mut missing);
        }
        None => drop(socket.read_to_end(&mut rest)?),
    }
    if find("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        let mut body = Vec::new();
        while let Some(chunk) = take_chunk(&mut rest)? {
            body.extend_from_slice(&chunk);
        }
        rest = body;
    }
    Ok(Response { status, headers, body: rest })
}

/// Takes one whole chunk off the front; `None` at the last chunk or while the next one is not complete.
pub(crate) fn take_chunk(received: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    let Some(line) = received.windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
    let digits = std::str::from_utf8(&received[..line]).map_err(|_| invalid("a chunk size that is not text"))?;
    let size = usize::from_str_radix(digits.split(';').next().unwrap_or_default().trim(), 16)
        .map_err(|_| invalid("a chunk size that is not a number"))?;
    if size == 0 || received.len() < line + 2 + size + 2 {
        return Ok(None);
    }
    let chunk = received[line + 2..line + 2 + size].to_vec();
    received.drain(..line + 2 + size + 2);
    Ok(Some(chunk))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
