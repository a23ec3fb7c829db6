//! Server-sent events, read one by one with a deadline. Never reconnects: tests say when and from where.

use std::io::{self, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::http::{open, parse_head, read_head, take_chunk};

/// One event.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) name: String,
    pub(crate) data: String,
}

impl Event {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error} in the data of {self:?}"))
    }
}

/// An open stream.
pub(crate) struct Stream {
    socket: TcpStream,
    raw: Vec<u8>,
    text: String,
}

impl Stream {
    /// Subscribes; `after` resumes behind that event id.
    #[track_caller]
    pub(crate) fn open(base: &str, path: &str, after: Option<&str>) -> Self {
        let mut headers = vec![("accept", "text/event-stream")];
        headers.extend(after.map(|id| ("last-event-id", id)));
        let mut socket = open(base, "GET", path, &headers, 0, false).expect("the daemon accepts connections");
        let mut raw = Vec::new();
        let end = read_head(&mut socket, &mut raw).expect("an answer");
        let (status, headers) = parse_head(&raw[..end]).expect("a head");
        let kind = headers.iter().find(|(name, _)| name == "content-type").map(|(_, value)| value.as_str());
        assert_eq!((status, kind), (200, Some("text/event-stream")), "{}", String::from_utf8_lossy(&raw));
        raw.drain(..end);
        Self { socket, raw, text: String::new() }
    }

    /// The next event that is named `name`, at most `limit` from now; others are passed over.
    #[track_caller]
    pub(crate) fn next_named(&mut self, name: &str, limit: Duration) -> Event {
        let end = Instant::now() + limit;
        loop {
            while let Some(event) = self.take_event() {
                if event.name == name {
                    return event;
                }
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no `{name}` event within {limit:?}; the rest was {:?}", self.text);
            self.receive(left).unwrap_or_else(|error| panic!("the stream broke before a `{name}` event: {error}"));
        }
    }

    fn receive(&mut self, limit: Duration) -> io::Result<()> {
        self.socket.set_read_timeout(Some(limit))?;
        let mut buffer = [0_u8; 4096];
        match self.socket.read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => self.raw.extend_from_slice(&buffer[..read]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
        while let Some(chunk) = take_chunk(&mut self.raw)? {
            self.text.push_str(&String::from_utf8_lossy(&chunk).replace("\r\n", "\n"));
        }
        Ok(())
    }

    /// Takes one whole event off the text; comments (heartbeats) are dropped.
    fn take_event(&mut self) -> Option<Event> {
        loop {
            let end = self.text.find("\n\n")?;
            let block: String = self.text.drain(..end + 2).collect();
            let mut event = Event { id: None, name: "message".to_owned(), data: String::new() };
            let mut fields = 0;
            for (field, value) in block.lines().filter_map(|line| line.split_once(':')) {
                let value = value.strip_prefix(' ').unwrap_or(value);
                fields += usize::from(!field.is_empty());
                match field {
                    "id" => event.id = Some(value.to_owned()),
                    "event" => event.name = value.to_owned(),
                    "data" if event.data.is_empty() => event.data = value.to_owned(),
                    "data" => event.data = format!("{}\n{value}", event.data),
                    _ => {}
                }
            }
            if fields > 0 {
                return Some(event);
            }
        }
    }
}
