//! The sandbox behind the SDK's HTTP client: the real serialiser, signer and error parser run.

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;

use super::account::{Reply, Who};
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
            let failed = |error| ConnectorError::other(Box::new(error), None);
            let latency = sandbox.with(|account, _| account.manners.latency).map_err(failed)?;
            time::sleep(latency).await;
            respond(sandbox.answer(&asked).map_err(failed)?)
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

fn respond(reply: Reply) -> Result<HttpResponse, ConnectorError> {
    let status = reply.status.try_into();
    let status = status.map_err(|error| ConnectorError::other(Box::new(error), None))?;
    let mut response = HttpResponse::new(status, SdkBody::from(reply.body));
    response.headers_mut().insert("content-type", reply.content_type);
    Ok(response)
}
