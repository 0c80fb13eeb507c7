//! The sandbox behind the SDK's HTTP client: the real serialiser, signer and error parser run.

use std::io;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;

use super::account::{Reply, Who, throttled};
use super::faults::{Done, Fate};
use super::refusal::Refusal;
use super::{Asked, Sandbox};
use crate::time;

/// Answers the SDK's requests.
#[derive(Debug, Clone)]
pub(super) struct Client(pub(super) Sandbox);

impl HttpConnector for Client {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let sandbox = self.0.clone();
        HttpConnectorFuture::new(async move {
            let scope = request.headers().get("authorization").unwrap_or_default();
            let target = request.headers().get("x-amz-target").unwrap_or_default();
            let body = request.body().bytes().unwrap_or_default();
            let Some(asked) = Asked::read(Who::Client, scope, target, body) else {
                return Err(ConnectorError::user("the request is not signed".into()));
            };
            meet(&sandbox, &asked).await.and_then(respond)
        })
    }
}

impl HttpClient for Client {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// Lets a call meet its fate.
async fn meet(sandbox: &Sandbox, asked: &Asked) -> Result<Reply, ConnectorError> {
    let kept = |error| ConnectorError::other(Box::new(error), None);
    let (latency, fate) = sandbox
        .with(|account, now| {
            account.overhear(&asked.action, &asked.query);
            let fate = account.fate(&asked.action);
            sandbox.process.note(now, &asked.action, format!("{fate:?}"));
            (account.manners.latency, fate)
        })
        .map_err(kept)?;
    time::sleep(latency).await;
    let do_it = |done| match done {
        Done::Yes => sandbox.answer(asked).map(drop).map_err(kept),
        Done::No => Ok(()),
    };
    match fate {
        Fate::Normal => sandbox.answer(asked).map_err(kept),
        Fate::Slow(span) => {
            time::sleep(span).await;
            sandbox.answer(asked).map_err(kept)
        }
        Fate::Throttled => Ok(asked.refuse(&throttled())),
        Fate::Fails(status, done) => {
            do_it(done)?;
            let code = if status == 503 { "Unavailable" } else { "InternalError" };
            Ok(asked.refuse(&Refusal::with_status(status, code, "An internal error has occurred")))
        }
        Fate::Lost(done) => {
            do_it(done)?;
            let lost = io::Error::new(io::ErrorKind::ConnectionReset, "connection reset by peer");
            Err(ConnectorError::io(lost.into()))
        }
        Fate::Expired => {
            let text = "Request has expired.";
            Ok(asked.refuse(&Refusal::new("RequestExpired", text)))
        }
        Fate::Killed(done) => {
            do_it(done)?;
            sandbox.process.killed.notify_one();
            std::future::pending().await
        }
        Fate::Interrupted => {
            sandbox.process.interrupted.notify_one();
            sandbox.answer(asked).map_err(kept)
        }
        Fate::Joined => {
            sandbox.process.joined.notify_one();
            sandbox.answer(asked).map_err(kept)
        }
    }
}

fn respond(reply: Reply) -> Result<HttpResponse, ConnectorError> {
    let status = reply.status.try_into();
    let status = status.map_err(|error| ConnectorError::other(Box::new(error), None))?;
    let mut response = HttpResponse::new(status, SdkBody::from(reply.body));
    response.headers_mut().insert("content-type", reply.content_type);
    Ok(response)
}
