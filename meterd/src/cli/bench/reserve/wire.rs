//! The least of an HTTP/1.1 client: one connection kept alive, one request at a time, so that the load generator takes as little of
//! the machine as it can. Understands answers with a length, as this daemon gives them, and no others.

use std::io::Write as _;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest answer that is read.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// One connection.
pub(super) struct Connection {
    stream: TcpStream,
    host: String,
    out: Vec<u8>,
    read: Vec<u8>,
    /// Where the body of the newest answer begins.
    body: usize,
}

impl Connection {
    pub(super) async fn open(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, host: address.to_owned(), out: Vec::new(), read: Vec::with_capacity(8_192), body: 0 })
    }

    /// Posts a JSON body and reads the answer whole; its status.
    pub(super) async fn post(&mut self, path: &str, body: &str) -> anyhow::Result<u16> {
        self.out.clear();
        write!(
            self.out,
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.host,
            body.len()
        )?;
        self.stream.write_all(&self.out).await?;
        self.read.clear();
        loop {
            if self.stream.read_buf(&mut self.read).await? == 0 {
                bail!("the daemon hung up");
            }
            if let Some((status, body, length)) = head(&self.read)?
                && self.read.len() >= body + length
            {
                self.body = body;
                return Ok(status);
            }
            if self.read.len() > ANSWER_BYTES_MAX {
                bail!("an answer of more than {ANSWER_BYTES_MAX} bytes");
            }
        }
    }

    /// The body of the newest answer.
    pub(super) fn answer(&self) -> String {
        String::from_utf8_lossy(self.read.get(self.body..).unwrap_or_default()).into_owned()
    }
}

/// Status, where the body begins, and its length, once the head is there.
fn head(read: &[u8]) -> anyhow::Result<Option<(u16, usize, usize)>> {
    let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(read.get(..end).unwrap_or_default()).context("a head that is no text")?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") { value.trim().parse().ok() } else { None }
    });
    let (Some(status), Some(length)) = (status, length) else { bail!("an answer without status or length: {text}") };
    Ok(Some((status, end + 4, length)))
}
