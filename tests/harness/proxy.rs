//! A TCP proxy that cuts connections in the middle of what they send. One thread a direction; ends with its owner.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread;

/// Bytes passed on at once: small, so that a cut falls anywhere.
const CHUNK: usize = 1_024;

/// A proxy in front of one address.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    target: String,
    /// Bytes towards the target until the next cut; negative: no cut is due.
    left: AtomicI64,
    cuts: AtomicU64,
    ended: AtomicBool,
}

impl Proxy {
    pub(crate) fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let shared = Arc::new(Shared {
            target,
            left: AtomicI64::new(-1),
            cuts: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if accepting.ended.load(Ordering::SeqCst) {
                    return;
                }
                // A target that is away closes the connection: what the client sees without a proxy, too.
                if let Ok(server) = TcpStream::connect(&accepting.target) {
                    join(&client, &server, &accepting);
                }
            }
        });
        Self { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Cuts the connection that sends the byte so far from now.
    pub(crate) fn cut_after(&self, bytes: i64) {
        self.shared.left.store(bytes, Ordering::SeqCst);
    }

    /// Connections cut so far.
    pub(crate) fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address)); // wakes the thread that accepts
    }
}

fn join(client: &TcpStream, server: &TcpStream, shared: &Arc<Shared>) {
    let pair = |from: &TcpStream, to: &TcpStream| Some((from.try_clone().ok()?, to.try_clone().ok()?));
    let (Some((from, to)), Some((back_from, back_to))) = (pair(client, server), pair(server, client)) else { return };
    let cutting = Arc::clone(shared);
    thread::spawn(move || pass(from, to, |bytes| cutting.is_due(bytes)));
    thread::spawn(move || pass(back_from, back_to, |_| false));
}

impl Shared {
    fn is_due(&self, bytes: usize) -> bool {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        // In one step, so that a cut ordered meanwhile is not overwritten.
        let take = |left: i64| (left >= 0).then(|| left - bytes);
        let is_due =
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok_and(|before| before - bytes < 0);
        if is_due {
            self.cuts.fetch_add(1, Ordering::SeqCst);
        }
        is_due
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, is_due: impl Fn(usize) -> bool) {
    let mut chunk = [0; CHUNK];
    while let Ok(read) = from.read(&mut chunk) {
        if read == 0 || is_due(read) || to.write_all(&chunk[..read]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
