//! A small HTTP server that takes what is posted to it and keeps it: the other end of a webhook.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

use super::http::{parse_head, read_head};

const SILENCE_MAX: Duration = Duration::from_secs(5);

/// What came: the path and the body.
type Posts = Arc<Mutex<Vec<(String, Value)>>>;

/// A listening receiver; dropping it ends it.
pub(crate) struct Receiver {
    address: SocketAddr,
    posts: Posts,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    #[track_caller]
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let address = listener.local_addr().expect("it is bound");
        let (posts, stop) = (Posts::default(), Arc::new(AtomicBool::new(false)));
        let (kept, stopped) = (Arc::clone(&posts), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                if let Some(post) = take(socket) {
                    kept.lock().expect("no test panics with it").push(post);
                }
            }
        });
        Self { address, posts, stop, thread: Some(thread) }
    }

    /// `127.0.0.1:port`.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Everything posted to `path` so far.
    pub(crate) fn posted(&self, path: &str) -> Vec<Value> {
        let posts = self.posts.lock().expect("no test panics with it");
        posts.iter().filter(|(to, _)| to == path).map(|(_, body)| body.clone()).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // A connection wakes the thread up, which then ends.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn take(mut socket: TcpStream) -> Option<(String, Value)> {
    socket.set_read_timeout(Some(SILENCE_MAX)).ok()?;
    let mut received = Vec::new();
    let end = read_head(&mut socket, &mut received).ok()?;
    let path = String::from_utf8_lossy(&received).split(' ').nth(1)?.to_owned();
    let (_, headers) = parse_head(&received[..end]).unwrap_or_default();
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = received.split_off(end);
    let mut missing = vec![0; usize::saturating_sub(length.unwrap_or(0), body.len())];
    socket.read_exact(&mut missing).ok()?;
    body.append(&mut missing);
    socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").ok()?;
    Some((path, serde_json::from_slice(&body).ok()?))
}
