//! Listens to a run's stream of signals and hands on the kill; comes back after every break with the last id it saw.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::sync::mpsc;

use super::client::Client;

const RECONNECT_PAUSE: Duration = Duration::from_millis(200);
/// No line of a stream is longer.
const LINE_BYTES_MAX: usize = 64 << 10;

/// A kill, as the stream tells it.
#[derive(Debug)]
pub(super) struct Kill {
    pub(super) id: String,
    pub(super) message: String,
}

/// Kills as they come.
pub(super) struct Kills {
    receiver: mpsc::Receiver<Kill>,
}

impl Kills {
    /// Opens the stream; the daemon knows of the listener when this returns.
    pub(super) async fn listen(client: Client, path: String) -> anyhow::Result<Self> {
        let (sender, receiver) = mpsc::channel(1);
        let mut response = client.signals(&path, None).await?;
        tokio::spawn(async move {
            let mut last_id = None;
            loop {
                if read(response, &sender, &mut last_id).await.is_none() {
                    return;
                }
                response = loop {
                    tokio::time::sleep(RECONNECT_PAUSE).await;
                    if sender.is_closed() {
                        return;
                    }
                    if let Ok(response) = client.signals(&path, last_id).await {
                        break response;
                    }
                };
            }
        });
        Ok(Self { receiver })
    }

    /// The next kill; waits for ever when none comes.
    pub(super) async fn next(&mut self) -> Kill {
        match self.receiver.recv().await {
            Some(kill) => kill,
            None => std::future::pending().await,
        }
    }
}

/// Reads one connection to its end. `None`: nobody listens any more.
async fn read(mut response: Response<Incoming>, sender: &mpsc::Sender<Kill>, last_id: &mut Option<u64>) -> Option<()> {
    let mut buffer: Vec<u8> = Vec::new();
    let mut event = Event::default();
    while let Some(Ok(frame)) = response.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        buffer.extend_from_slice(&data);
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            if let Some(kill) = event.line(line.trim_end_matches(['\r', '\n']), last_id) {
                sender.send(kill).await.ok()?;
            }
        }
        if buffer.len() > LINE_BYTES_MAX {
            return Some(());
        }
    }
    Some(())
}

/// The event being read.
#[derive(Default)]
struct Event {
    name: String,
    data: String,
    id: Option<u64>,
}

impl Event {
    /// Takes a line; a blank one ends the event.
    fn line(&mut self, line: &str, last_id: &mut Option<u64>) -> Option<Kill> {
        if line.is_empty() {
            let event = std::mem::take(self);
            *last_id = event.id.or(*last_id);
            let data: Value = serde_json::from_str(&event.data).ok()?;
            let text = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            return (event.name == "kill").then(|| Kill { id: text("id"), message: text("message") });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.name = value.to_owned(),
            "data" => self.data.push_str(value),
            "id" => self.id = value.parse().ok(),
            _ => {}
        }
        None
    }
}
