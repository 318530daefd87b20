//! Redirects of a registry, by its rule for other servers.
//!
//! Another server gets no authorization, also if it leads back to the registry.

use crate::{
    reach::Reach,
    transport::{HttpRequest, RequestBody, Response, Transport, TransportError},
};
use hyper::{
    Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION},
};

/// Sends a request, follows redirects, and returns the last response.
pub async fn send_and_follow(
    transport: &Transport,
    reach: &Reach,
    mut request: HttpRequest,
) -> Result<Response, TransportError> {
    for _ in 0..=MAX_REDIRECTS {
        let response = transport.send(&request).await?;
        let Some(next) = redirected(&request, &response) else { return Ok(response) };
        reach.admit(&next.url).map_err(TransportError::Refused)?;
        request = next;
    }
    let what =
        format!("more than {MAX_REDIRECTS} redirects; the last is to {}", request.url.origin());
    Err(TransportError::Redirect(what))
}

/// Returns the request that a response redirects to. Without a valid address there is none, and the
/// status decides.
fn redirected(request: &HttpRequest, response: &Response) -> Option<HttpRequest> {
    let status = response.status();
    let keeps_method = match status {
        // The specification allows both; all clients send GET after POST.
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => request.method != Method::POST,
        StatusCode::SEE_OTHER => matches!(request.method, Method::GET | Method::HEAD),
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
        _ => return None,
    };
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let mut next = HttpRequest { url: request.url.join(location).ok()?, ..request.clone() };
    if !keeps_method {
        next.method = Method::GET;
        next.body = RequestBody::None;
        next.headers.remove(CONTENT_TYPE);
        next.headers.remove(CONTENT_LENGTH);
    }
    if !next.url.is_same_server(&request.url) {
        next.headers.remove(AUTHORIZATION);
    }
    Some(next)
}

/// A registry leads to its storage, which may lead to a content network.
const MAX_REDIRECTS: u32 = 5;
