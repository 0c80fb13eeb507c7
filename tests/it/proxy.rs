//! A proxy between cgw and LocalStack that sees every call, and can throttle, wait, cut, lose or kill.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use cgw::sandbox::Draws;
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

/// How the way to AWS is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    Fair,
    /// Each call takes so much longer.
    Slow(Duration),
    /// Now and then a call is slow, throttled or cut off before it comes, or its reply is lost; which
    /// ones is drawn from the seed, in the order in which they come.
    Foul(u64),
}

/// What happens to one call on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mishap {
    Throttled,
    Cut,
    ReplyLost,
}

impl Mishap {
    pub(crate) const ALL: [Self; 3] = [Self::Throttled, Self::Cut, Self::ReplyLost];
}

/// How many calls of a hundred are slow, and in how many each mishap happens.
const SLOW: u32 = 10;
const ODDS: u32 = 2;

impl Weather {
    /// What happens to a call, the nth that comes, and how long it takes on its way.
    fn meets(self, number: u64) -> (Duration, Option<Mishap>) {
        let Self::Foul(seed) = self else {
            return (if let Self::Slow(delay) = self { delay } else { Duration::ZERO }, None);
        };
        let mut draws = Draws::new(seed * 100_000 + number);
        let is_slow = draws.percent("slow", SLOW);
        let delay = draws.span("delay", Duration::ZERO..=Duration::from_millis(200));
        let delay = if is_slow { delay } else { Duration::ZERO };
        let mishap = match draws.number("mishap") % 100 / ODDS {
            0 => Some(Mishap::Throttled),
            1 => Some(Mishap::Cut),
            2 => Some(Mishap::ReplyLost),
            _ => None,
        };
        (delay, mishap)
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
    mishaps: Arc<Mutex<Vec<Mishap>>>,
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

/// A call that is being carried out, for as long as it lives.
struct Opened(Arc<Open>);

impl Opened {
    fn new(open: &Arc<Open>) -> Self {
        *open.count.lock().unwrap() += 1;
        Self(open.clone())
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        *self.0.count.lock().unwrap() -= 1;
        self.0.fewer.notify_all();
    }
}

struct Shared {
    open: Arc<Open>,
    upstream: String,
    weather: Weather,
    /// How many calls have come.
    came: AtomicU64,
    mishaps: Arc<Mutex<Vec<Mishap>>>,
    rule: Box<Rule>,
    calls: Arc<Mutex<Vec<Call>>>,
    changes: Mutex<usize>,
    /// Connections to LocalStack that wait for a call.
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl Proxy {
    /// Passes everything on.
    pub(crate) fn watching(upstream: &str) -> Self {
        Self::new(upstream, Weather::Fair, |_, _| Fate::Pass)
    }

    pub(crate) fn new(
        upstream: &str,
        weather: Weather,
        rule: impl Fn(&str, usize) -> Fate + Send + Sync + 'static,
    ) -> Self {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let (open, mishaps) = (Arc::<Open>::default(), Arc::<Mutex<Vec<Mishap>>>::default());
        let shared = Arc::new(Shared {
            open: open.clone(),
            upstream: upstream.trim_start_matches("http://").to_owned(),
            weather,
            came: AtomicU64::new(0),
            mishaps: mishaps.clone(),
            rule: Box::new(rule),
            calls: calls.clone(),
            changes: Mutex::new(0),
            idle: Mutex::default(),
        });
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || serve(&shared, &tell, stopped));
        let url = format!("http://{}", told.recv().unwrap());
        Self { url, calls, mishaps, open, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    pub(crate) fn mishaps(&self) -> Vec<Mishap> {
        self.mishaps.lock().unwrap().clone()
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
    let (opened, shared) = (Opened::new(&shared.open), shared.clone());
    let call = tokio::task::spawn_local(async move {
        let _opened = opened;
        carry_out(&shared, Request::from_parts(parts, body)).await
    });
    call.await.map_err(std::io::Error::other)?
}

async fn carry_out(
    shared: &Shared,
    request: Request<Bytes>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let begun = std::time::Instant::now();
    let action = action(&request);
    let (delay, mishap) = shared.weather.meets(shared.came.fetch_add(1, Ordering::Relaxed));
    tokio::time::sleep(delay).await;
    shared.mishaps.lock().unwrap().extend(mishap);
    match mishap {
        Some(Mishap::Cut) => return Err(std::io::Error::other("the call is cut off")),
        Some(Mishap::Throttled) if is_of_ec2(&request) => return Ok(throttled()),
        Some(Mishap::Throttled | Mishap::ReplyLost) | None => {}
    }
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
            return Err(lost());
        }
    }
    if matches!(mishap, Some(Mishap::ReplyLost)) { Err(lost()) } else { Ok(reply) }
}

fn lost() -> std::io::Error {
    std::io::Error::other("the reply is lost")
}

/// Only EC2 says in this way that it is asked too often.
fn is_of_ec2(request: &Request<Bytes>) -> bool {
    String::from_utf8_lossy(request.body()).contains("Version=2016-11-15")
}

fn throttled() -> Response<Full<Bytes>> {
    let body = "<Response><Errors><Error><Code>RequestLimitExceeded</Code><Message>Request limit \
                exceeded.</Message></Error></Errors><RequestID>0</RequestID></Response>";
    Response::builder().status(503).body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap()
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
