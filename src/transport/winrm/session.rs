//! One HTTP connection that has logged in.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::FutureExt as _;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use uuid::Uuid;

use super::envelope::OPERATION_SECONDS;
use super::ntlm::Ntlm;
use super::sealed;
use super::trust::{self, Untrusted};
use super::{Login, Security, Winrm};
use crate::time::{self, TimedOut};
use crate::transport::{Cause, Error, Step, authority};
use crate::xml;

/// The server answers within the time that it is given for an operation; this is for the way.
const SLACK: Duration = Duration::from_secs(10);

/// More than any answer that we ask for (150 kB), and than is read of XML.
const LONGEST_ANSWER: usize = xml::LONGEST + (64 << 10);

const SOAP: &str = "application/soap+xml;charset=UTF-8";

/// A connection that has logged in.
pub(super) struct Session {
    wire: Wire,
    at: String,
    url: String,
    id: Uuid,
    /// How each message says who sends it.
    protection: Protection,
}

enum Protection {
    /// The connection is logged in, and encrypted beneath.
    Connection,
    /// A header, which only TLS may carry.
    Header(HeaderValue),
    /// The message itself is sealed.
    Seal(Box<Ntlm>),
}

/// What the server has answered.
struct Answer {
    status: StatusCode,
    /// The ways to log in that it offers, each perhaps with a message.
    offers: Vec<String>,
    body: Bytes,
}

impl Session {
    /// Connects and logs in.
    pub(super) async fn open(winrm: &Winrm) -> Result<Self, Error> {
        let tcp = dial(winrm).await?;
        let (wire, scheme, protection) = match &winrm.security {
            Security::Sealed => {
                let mut wire = Wire::new(winrm, tcp).await?;
                let ntlm = log_in(&mut wire, winrm, None).await?;
                (wire, "http", Protection::Seal(Box::new(ntlm)))
            }
            Security::Tls { trust, login } => {
                let config = trust::config(trust)?;
                let tls = encrypt(winrm, config, tcp).await?;
                let certificate = tls.get_ref().1.peer_certificates().and_then(<[_]>::first);
                let binding = certificate.map(trust::channel_binding);
                let mut wire = Wire::new(winrm, tls).await?;
                let protection = match login {
                    Login::Basic => Protection::Header(basic(winrm)),
                    Login::Ntlm => {
                        log_in(&mut wire, winrm, binding.as_deref()).await?;
                        Protection::Connection
                    }
                };
                (wire, "https", protection)
            }
        };
        let url = format!("{scheme}://{}/wsman", wire.authority);
        Ok(Self { wire, at: winrm.describe(), url, id: Uuid::new_v4(), protection })
    }

    /// Where it leads, for people.
    pub(super) fn at(&self) -> &str {
        &self.at
    }

    /// The address of the service.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Tells this session from others of the same user.
    pub(super) fn id(&self) -> Uuid {
        self.id
    }

    /// Sends a message and returns the answer, which may be a fault.
    ///
    /// INVARIANT: over HTTP a message is sealed, and only a sealed one is taken for an answer.
    pub(super) async fn ask(&mut self, message: String) -> Result<String, Error> {
        let at = &self.at;
        let lost = |source| Error::Lost { at: at.clone(), step: Step::Command, source };
        let message = message.into_bytes();
        let (kind, message, header) = match &mut self.protection {
            Protection::Connection => (SOAP, message, None),
            Protection::Header(header) => (SOAP, message, Some(header.clone())),
            Protection::Seal(ntlm) => {
                let sealed = sealed::seal(ntlm, &message).map_err(lost)?;
                (sealed::KIND, sealed, None)
            }
        };
        let limit = Duration::from_secs(OPERATION_SECONDS) + SLACK;
        let answer = time::within(limit, self.wire.post(kind, message, header)).await;
        let answer = answer.unwrap_or_else(|late| Err(late.into())).map_err(lost)?;
        if answer.status == StatusCode::UNAUTHORIZED {
            return Err(answer.refusal(at));
        }
        // A fault comes with status 500.
        let status = answer.status;
        if !matches!(status, StatusCode::OK | StatusCode::INTERNAL_SERVER_ERROR)
            || answer.body.is_empty()
        {
            return Err(lost(format!("the answer is HTTP {status}").into()));
        }
        let body = match &mut self.protection {
            Protection::Connection | Protection::Header(_) => answer.body.into(),
            Protection::Seal(ntlm) => sealed::open(ntlm, &answer.body).map_err(lost)?,
        };
        String::from_utf8(body).map_err(|error| lost(error.into()))
    }
}

impl Answer {
    /// What the server means that lets nobody in.
    fn refusal(&self, at: &str) -> Error {
        let names = self.offers.iter().filter_map(|offer| offer.split_whitespace().next());
        let offered = names.collect::<Vec<_>>().join(", ");
        Error::PasswordRefused { at: at.to_owned(), offered }
    }

    fn offers_negotiate(&self) -> bool {
        self.offers.iter().any(|offer| offer == "Negotiate")
    }

    /// The server's part of a Negotiate login.
    fn challenge(&self) -> Option<Vec<u8>> {
        let mut messages = self.offers.iter().filter_map(|offer| offer.strip_prefix("Negotiate "));
        BASE64_STANDARD.decode(messages.next()?.trim()).ok()
    }
}

/// A connection that speaks HTTP, with the task that moves its bytes, which runs while we wait.
struct Wire {
    sender: SendRequest<Full<Bytes>>,
    connection: Option<Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>>,
    authority: String,
}

impl Wire {
    async fn new<S>(winrm: &Winrm, stream: S) -> Result<Self, Error>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        let failed = |source: hyper::Error| Error::Lost {
            at: winrm.describe(),
            step: Step::Handshake,
            source: source.into(),
        };
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let authority = authority(&winrm.host, winrm.port);
        Ok(Self { sender, connection: Some(Box::pin(connection)), authority })
    }

    /// Sends one request and reads the whole answer.
    async fn post(
        &mut self,
        kind: &str,
        body: Vec<u8>,
        authorization: Option<HeaderValue>,
    ) -> Result<Answer, Cause> {
        let mut request = Request::post("/wsman")
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, kind)
            .body(Full::new(Bytes::from(body)))?;
        if let Some(value) = authorization {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let Self { sender, connection, .. } = self;
        let answer = async {
            sender.ready().await?;
            let answer = sender.send_request(request).await?;
            let offers = answer.headers().get_all(WWW_AUTHENTICATE).iter();
            let offers = offers.filter_map(|offer| offer.to_str().ok().map(str::to_owned));
            let (status, offers) = (answer.status(), offers.collect());
            let body = Limited::new(answer.into_body(), LONGEST_ANSWER).collect().await?;
            Ok(Answer { status, offers, body: body.to_bytes() })
        };
        let mut answer = std::pin::pin!(answer);
        poll_fn(|context| {
            // How it ends, the answer tells; one that was read before is whole all the same.
            if connection.as_mut().is_some_and(|wire| wire.poll_unpin(context).is_ready()) {
                *connection = None;
            }
            answer.as_mut().poll(context)
        })
        .await
    }
}

/// Opens the network connection to the first address that answers.
async fn dial(winrm: &Winrm) -> Result<TcpStream, Error> {
    let (at, limit) = (winrm.describe(), winrm.connect_timeout);
    let resolve = |source| Error::Resolve { host: winrm.host.clone(), source };
    let silent = || Error::Silent { at: at.clone(), step: Step::Connect, limit };
    let addresses = tokio::net::lookup_host((winrm.host.as_str(), winrm.port));
    let addresses = time::within(limit, addresses)
        .await
        .unwrap_or_else(|TimedOut| Err(ErrorKind::TimedOut.into()))
        .map_err(resolve)?;
    let mut last = resolve(ErrorKind::NotFound.into());
    for address in addresses {
        last = match time::within(limit, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => match tcp.set_nodelay(true) {
                Ok(()) => return Ok(tcp),
                Err(source) => Error::Connect { at: at.clone(), source },
            },
            Ok(Err(source)) if source.kind() == ErrorKind::ConnectionRefused => {
                Error::Refused { at: at.clone(), source }
            }
            Ok(Err(source)) => Error::Connect { at: at.clone(), source },
            Err(TimedOut) => silent(),
        };
    }
    Err(last)
}

/// Agrees on encryption with a server that proves to be the right one.
async fn encrypt(
    winrm: &Winrm,
    config: tokio_rustls::rustls::ClientConfig,
    tcp: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Error> {
    let (at, step, limit) = (winrm.describe(), Step::Handshake, winrm.connect_timeout);
    let name = ServerName::try_from(winrm.host.clone()).map_err(|source| Error::Handshake {
        at: at.clone(),
        step,
        source: source.into(),
    })?;
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, tcp);
    match time::within(limit, handshake).await {
        Err(TimedOut) => Err(Error::Silent { at, step, limit }),
        Ok(Err(error)) => Err(not_encrypted(at, error)),
        Ok(Ok(tls)) => Ok(tls),
    }
}

fn not_encrypted(at: String, error: io::Error) -> Error {
    let step = Step::Handshake;
    match Untrusted::behind(&error) {
        Some(Untrusted { seen, expected: Some(expected), .. }) => {
            let (fingerprint, expected) = (seen.to_string(), expected.to_string());
            Error::CertificateChanged { at, fingerprint, expected }
        }
        Some(untrusted) => {
            let (fingerprint, why) = (untrusted.seen.to_string(), untrusted.why());
            Error::CertificateUnknown { at, fingerprint, why }
        }
        // Everything that is wrong with what was said, and not with the connection.
        None if error.kind() == ErrorKind::InvalidData => {
            Error::Handshake { at, step, source: error.into() }
        }
        None => Error::Lost { at, step, source: error.into() },
    }
}

/// Logs the connection in by NTLM, in two exchanges that carry nothing else.
async fn log_in(wire: &mut Wire, winrm: &Winrm, binding: Option<&[u8]>) -> Result<Ntlm, Error> {
    let at = winrm.describe();
    let failed = |source: Cause| Error::Handshake { at: at.clone(), step: Step::Login, source };
    let unexpected = |status| failed(format!("the answer is HTTP {status}").into());

    let mut ntlm = Ntlm::new(&winrm.user, &winrm.password, &winrm.host, binding).map_err(failed)?;
    let hello = ntlm.answer(Vec::new()).map_err(failed)?;
    let answer = exchange(wire, winrm, &hello).await?;
    let challenge = match (answer.status, answer.challenge()) {
        (StatusCode::UNAUTHORIZED, Some(challenge)) => challenge,
        (StatusCode::UNAUTHORIZED, None) if answer.offers_negotiate() => {
            return Err(Error::NtlmBlocked { at });
        }
        (StatusCode::UNAUTHORIZED, None) => return Err(answer.refusal(&at)),
        (status, _) => return Err(unexpected(status)),
    };
    let proof = ntlm.answer(challenge).map_err(failed)?;
    let answer = exchange(wire, winrm, &proof).await?;
    match answer.status {
        StatusCode::OK => Ok(ntlm),
        StatusCode::UNAUTHORIZED => Err(answer.refusal(&at)),
        status => Err(unexpected(status)),
    }
}

/// Sends our part of a login and returns the answer to it.
async fn exchange(wire: &mut Wire, winrm: &Winrm, message: &[u8]) -> Result<Answer, Error> {
    let (at, step, limit) = (winrm.describe(), Step::Login, winrm.connect_timeout);
    let header = secret_header(format!("Negotiate {}", BASE64_STANDARD.encode(message)));
    match time::within(limit, wire.post(SOAP, Vec::new(), Some(header))).await {
        Ok(answer) => answer.map_err(|source| Error::Lost { at, step, source }),
        Err(TimedOut) => Err(Error::Silent { at, step, limit }),
    }
}

fn basic(winrm: &Winrm) -> HeaderValue {
    let login = format!("{}:{}", winrm.user, winrm.password.expose());
    secret_header(format!("Basic {}", BASE64_STANDARD.encode(login)))
}

fn secret_header(text: String) -> HeaderValue {
    let mut value = HeaderValue::try_from(text).expect("base64 has only what a header may have");
    value.set_sensitive(true);
    value
}
