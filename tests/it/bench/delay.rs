//! A long line between a client and a server: every byte arrives later than it was sent.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// What went over the line.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    pub(super) connections: usize,
    /// Bytes to the server.
    pub(super) up: usize,
    /// How often the client sent something after it had heard something: round trips.
    pub(super) turns: usize,
    heard: bool,
}

pub(super) struct Delay {
    pub(super) port: u16,
    seen: Arc<Mutex<Seen>>,
}

impl Delay {
    /// Opens one to a port of this machine; the first byte of each connection pays for TCP's own
    /// round trip too.
    pub(super) fn to(server: u16, one_way: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let all = seen.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                all.lock().unwrap().connections += 1;
                let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
                let (up, down) = (all.clone(), all.clone());
                let (to_server, to_client) = (server.try_clone(), client.try_clone());
                let begun = Instant::now() + 2 * one_way;
                pump(client, to_server.unwrap(), (one_way, begun), move |count| {
                    let mut seen = up.lock().unwrap();
                    seen.up += count;
                    seen.turns += usize::from(std::mem::take(&mut seen.heard));
                });
                pump(server, to_client.unwrap(), (one_way, begun), move |_| {
                    down.lock().unwrap().heard = true;
                });
            }
        });
        Self { port, seen }
    }

    pub(super) fn seen(&self) -> Seen {
        *self.seen.lock().unwrap()
    }
}

/// Carries one direction, as long as it lasts; nothing arrives before `(…, begun)`.
fn pump(
    mut from: TcpStream,
    mut to: TcpStream,
    (one_way, begun): (Duration, Instant),
    count: impl Fn(usize) + Send + 'static,
) {
    to.set_nodelay(true).unwrap();
    let (send, receive) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        for (due, bytes) in receive {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        drop(to.shutdown(Shutdown::Both));
    });
    thread::spawn(move || {
        let mut buffer = [0; 16 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            count(length);
            let due = (Instant::now() + one_way).max(begun + one_way);
            if send.send((due, buffer[..length].to_vec())).is_err() {
                break;
            }
        }
    });
}
