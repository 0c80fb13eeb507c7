//! A proxy between cgw and LocalStack that sees every call, and can lose replies, wait or kill.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

/// A call that went through.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// AWS's name of the action.
    pub(crate) action: String,
    /// When it came, and when its reply was there.
    pub(crate) span: (std::time::Instant, std::time::Instant),
}

impl Call {
    pub(crate) fn changes(&self) -> bool {
        !["Describe", "Get", "List"].iter().any(|verb| self.action.starts_with(verb))
    }
}

/// What becomes of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes on to the client.
    Pass,
    /// The call is carried out, the connection is closed.
    Lose,
}

/// Decides on the nth changing call (from 1), after it was carried out.
type Rule = dyn Fn(&str, usize) -> Fate + Send + Sync;

pub(crate) struct Proxy {
    url: String,
    calls: Arc<Mutex<Vec<Call>>>,
    open: Arc<Open>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// How many calls are being carried out.
#[derive(Default)]
struct Open {
    count: Mutex<usize>,
    fewer: Condvar,
}

impl Open {
    fn end(&self) {
        *self.count.lock().unwrap() -= 1;
        self.fewer.notify_all();
    }
}

struct Shared {
    open: Arc<Open>,
    upstream: String,
    delay: Duration,
    rule: Box<Rule>,
    calls: Arc<Mutex<Vec<Call>>>,
    changes: Mutex<usize>,
    /// Connections to LocalStack that wait for a call.
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl Proxy {
    /// Passes everything on.
    pub(crate) fn watching(upstream: &str) -> Self {
        Self::new(upstream, Duration::ZERO, |_, _| Fate::Pass)
    }

    pub(crate) fn new(
        upstream: &str,
        delay: Duration,
        rule: impl Fn(&str, usize) -> Fate + Send + Sync + 'static,
    ) -> Self {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let open = Arc::<Open>::default();
        let shared = Arc::new(Shared {
            open: open.clone(),
            upstream: upstream.trim_start_matches("http://").to_owned(),
            delay,
            rule: Box::new(rule),
            calls: calls.clone(),
            changes: Mutex::new(0),
            idle: Mutex::default(),
        });
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || serve(&shared, &tell, stopped));
        let url = format!("http://{}", told.recv().unwrap());
        Self { url, calls, open, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// Waits until nothing is carried out any more: whoever called may be gone.
    pub(crate) fn drain(&self) {
        let count = self.open.count.lock().unwrap();
        drop(self.open.fewer.wait_while(count, |open| *open > 0).unwrap());
    }

    pub(crate) fn changes(&self) -> Vec<String> {
        self.calls().into_iter().filter(Call::changes).map(|call| call.action).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().map(std::thread::JoinHandle::join);
    }
}

fn serve(
    shared: &Arc<Shared>,
    tell: &std::sync::mpsc::Sender<SocketAddr>,
    stopped: tokio::sync::oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        tell.send(listener.local_addr().unwrap()).unwrap();
        let accept = async {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let shared = shared.clone();
                tokio::task::spawn_local(async move {
                    let service = hyper::service::service_fn(|request| pass(&shared, request));
                    let http = hyper::server::conn::http1::Builder::new();
                    // A reply that is to be lost ends the connection with an error.
                    drop(http.serve_connection(TokioIo::new(stream), service).await);
                });
            }
        };
        tokio::select! { () = accept => {}, _ = stopped => {} }
    });
}

/// Carries a call out, to its end even when the caller is gone by then.
async fn pass(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    *shared.open.count.lock().unwrap() += 1;
    let shared = shared.clone();
    let call = tokio::task::spawn_local(async move {
        let reply = carry_out(&shared, Request::from_parts(parts, body)).await;
        shared.open.end();
        reply
    });
    call.await.map_err(std::io::Error::other)?
}

async fn carry_out(
    shared: &Shared,
    request: Request<Bytes>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let begun = std::time::Instant::now();
    let action = action(&request);
    tokio::time::sleep(shared.delay).await;
    let reply = forward(shared, request.map(Full::new)).await?;
    let call = Call { action: action.clone(), span: (begun, std::time::Instant::now()) };
    let changes = call.changes();
    shared.calls.lock().unwrap().push(call);
    if changes {
        let number = {
            let mut count = shared.changes.lock().unwrap();
            *count += 1;
            *count
        };
        if (shared.rule)(&action, number) == Fate::Lose {
            return Err(std::io::Error::other("the reply is lost"));
        }
    }
    Ok(reply)
}

/// EC2 is told the action in a form, Systems Manager in a header.
fn action(request: &Request<Bytes>) -> String {
    let header = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
    let text = String::from_utf8_lossy(request.body());
    let form = text.split('&').find_map(|pair| pair.strip_prefix("Action="));
    let action = header.and_then(|target| target.rsplit('.').next()).or(form);
    action.unwrap_or_default().to_owned()
}

async fn forward(
    shared: &Shared,
    request: Request<Full<Bytes>>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let kept = shared.idle.lock().unwrap().pop();
    let mut sender = match kept.filter(SendRequest::is_ready) {
        Some(sender) => sender,
        None => connect(shared).await?,
    };
    let reply = sender.send_request(request).await.map_err(std::io::Error::other)?;
    let (parts, body) = reply.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    shared.idle.lock().unwrap().push(sender);
    Ok(Response::from_parts(parts, Full::new(body)))
}

async fn connect(shared: &Shared) -> Result<SendRequest<Full<Bytes>>, std::io::Error> {
    let stream = tokio::net::TcpStream::connect(&shared.upstream).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(std::io::Error::other)?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}
