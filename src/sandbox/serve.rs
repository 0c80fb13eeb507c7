//! The sandbox over a port, so that other clients than cgw can be pointed at it.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::account::{Reply, Who};
use super::refusal::Refusal;
use super::{Asked, Sandbox, account};

/// The most bytes of a request: EC2 takes far less.
const LARGEST: usize = 1 << 20;

/// A port of this machine at which a sandbox answers.
#[derive(Debug)]
pub struct Port {
    sandbox: Sandbox,
    listener: TcpListener,
    address: SocketAddr,
}

impl Port {
    /// Takes a port of the loopback interface; 0: any that is free.
    pub async fn open(sandbox: Sandbox, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        Ok(Self { sandbox, listener, address })
    }

    /// Returns where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers, without an end.
    pub async fn serve(self) -> Infallible {
        let mut connections = FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => {
                    if let Ok((stream, _)) = accepted {
                        let sandbox = self.sandbox.clone();
                        let service = service_fn(move |request| answer(sandbox.clone(), request));
                        let io = TokioIo::new(stream);
                        connections.push(http1::Builder::new().serve_connection(io, service));
                    }
                }
                // A client that goes away in the middle of a call is no matter.
                Some(_) = connections.next() => {}
            }
        }
    }
}

async fn answer(
    sandbox: Sandbox,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let header = |name: &str| {
        let value = request.headers().get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let (authorization, target) = (header("authorization"), header("x-amz-target"));
    let body = Limited::new(request.into_body(), LARGEST).collect().await;
    let asked = body
        .ok()
        .and_then(|body| Asked::read(Who::Somebody, &authorization, &target, &body.to_bytes()));
    let wrong = |text: &str| {
        account::refuse("ec2", &Refusal::with_status(401, "AuthFailure", text), "sandbox")
    };
    let reply = match asked {
        Some(asked) => sandbox.answer(&asked).unwrap_or_else(|error| {
            let refusal = Refusal::with_status(500, "InternalError", error.to_string());
            asked.refuse(&refusal)
        }),
        None => wrong("The request is not signed, is too large, or names no action."),
    };
    Ok(respond(reply))
}

fn respond(Reply { status, content_type, body }: Reply) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status).header(CONTENT_TYPE, content_type);
    response.body(Full::from(body)).expect("status and type are of our own making")
}
