//! Ends a connection from outside while a thread is blocked on it.

use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

/// The connection as both sides see it: the worker, which may block on it, and the future.
#[derive(Debug, Default)]
pub(super) struct Wire(Mutex<Socket>);

#[derive(Debug, Default)]
enum Socket {
    #[default]
    NotYet,
    Open(TcpStream),
    Cut,
}

impl Wire {
    fn socket(&self) -> MutexGuard<'_, Socket> {
        self.0.lock().expect("nothing panics while it holds the socket")
    }

    /// Ends the connection now; a call that is blocked on it returns with an error.
    pub(super) fn cut(&self) {
        if let Socket::Open(tcp) = std::mem::replace(&mut *self.socket(), Socket::Cut) {
            // It fails only if the other end has hung up first.
            tcp.shutdown(Shutdown::Both).ok();
        }
    }

    /// Lets a new connection be cut from now on.
    pub(super) fn open(&self, tcp: &TcpStream) -> io::Result<()> {
        let mut socket = self.socket();
        if matches!(*socket, Socket::Cut) {
            return Err(ErrorKind::Interrupted.into());
        }
        *socket = Socket::Open(tcp.try_clone()?);
        Ok(())
    }
}

/// Ends the connection when the future that waits for it is dropped, ends or runs late.
pub(super) struct CutOnDrop(pub(super) Arc<Wire>);

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        self.0.cut();
    }
}
