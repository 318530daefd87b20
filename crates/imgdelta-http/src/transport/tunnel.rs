//! A tunnel to a server with TLS through a proxy.
//!
//! The proxy learns host and port, and nothing else.

use super::{
    body::SentBody,
    error::{TransportError, describe},
    proxy_authorization,
    stream::{ByteStream, start_tunnel},
};
use crate::{proxies::Proxy, url::Url};
use hyper::{
    Method, StatusCode, Uri,
    header::{HOST, HeaderValue, USER_AGENT},
};
use hyper_util::rt::TokioIo;

/// Opens a tunnel to the server of an address over a connection to a proxy.
pub(super) async fn open(
    stream: Box<dyn ByteStream>,
    proxy: &Proxy,
    url: &Url,
) -> Result<Box<dyn ByteStream>, TransportError> {
    let server = format!("{}:{}", url.host(), url.port());
    let failed = |why: String| {
        TransportError::Connect(format!("the proxy {} to {server}: {why}", proxy.url.authority()))
    };
    let broken = |error: &dyn std::error::Error| failed(describe(error));
    let mut request = hyper::Request::new(SentBody::none());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = Uri::try_from(&server).map_err(|error| broken(&error))?;
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::try_from(&server).map_err(|error| broken(&error))?);
    headers.insert(USER_AGENT, HeaderValue::from_static(super::AGENT));
    headers.extend(proxy_authorization(proxy));
    let mut sender = start_tunnel(stream).await.map_err(|error| broken(&error))?;
    let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
    match response.status() {
        status if status.is_success() => {}
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            let what = "login required, or a wrong one (status 407); write USER:PASSWORD@ before \
                        the proxy's host";
            return Err(failed(what.into()));
        }
        status => return Err(failed(format!("connection refused (status {})", status.as_u16()))),
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(|error| broken(&error))?;
    Ok(Box::new(TokioIo::new(upgraded)))
}
