//! Authorization of requests: passwords, and tokens in exchange for them.
//!
//! Sends secrets only over TLS, to this machine, or to any host with `plain_http`. A password goes
//! only to the registry, or to the token server that the registry names.

use super::{
    Client,
    host::{HostState, lock},
    request::Request,
};
use crate::{
    error::{RequestErrorKind, Result},
    token::{Challenge, Token},
};
use base64::Engine as _;
use hyper::{
    Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE},
};
use imgdelta_core::Error;
use imgdelta_credentials::Credential;
use imgdelta_http::{HttpRequest, RequestBody, Response, TransportError, Url, encoded};
use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

/// Authorization of one request.
#[derive(Clone, Debug)]
pub(super) struct Authorization {
    /// The value of the header, if one is sent.
    pub header: Option<HeaderValue>,
    pub login: Login,
}

/// Use of a login, to distinguish a missing from a wrong one when the registry refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// The request is anonymous.
    Anonymous,
    /// The request has a login.
    Credentials,
    /// The request has a token that was given for a login.
    Token,
}

impl Authorization {
    /// An anonymous request without a header.
    pub(super) const NONE: Self = Self { header: None, login: Login::Anonymous };
}

impl Login {
    /// Returns the error for status 401 or 403.
    pub(super) fn refused(self, status: u16, message: String) -> RequestErrorKind {
        match (self, status) {
            (Self::Anonymous, _) => RequestErrorKind::CredentialsMissing { status, message },
            (Self::Credentials, 401) => RequestErrorKind::CredentialsRejected { status, message },
            (Self::Credentials | Self::Token, _) => RequestErrorKind::Forbidden { status, message },
        }
    }
}

impl Client {
    /// Returns the authorization that the registry requires for a request.
    pub(super) async fn authorization(
        &self,
        host: &HostState,
        request: &Request<'_>,
        patience: Duration,
    ) -> Result<Authorization> {
        if let Some(header) = &self.forwarded {
            return Ok(Authorization { header: Some(header.clone()), login: Login::Token });
        }
        let challenge = lock(&host.challenge).clone();
        match challenge {
            None => Ok(Authorization::NONE),
            Some(Challenge::Basic) => {
                let header = self.basic(host, request).await?;
                let login = if header.is_some() { Login::Credentials } else { Login::Anonymous };
                Ok(Authorization { header, login })
            }
            Some(Challenge::Bearer { realm, service }) => {
                let key = request.scopes().join(" ");
                let cached = lock(&host.tokens).get(&key).cloned();
                let token = if let Some(token) = cached.filter(|t| t.until > Instant::now()) {
                    token
                } else {
                    let token =
                        self.token(host, request, &realm, service.as_deref(), patience).await?;
                    lock(&host.tokens).insert(key, token.clone());
                    token
                };
                let login = if token.is_authenticated { Login::Token } else { Login::Anonymous };
                let header = secret_header(&format!("Bearer {}", token.secret.reveal()));
                Ok(Authorization { header: Some(header), login })
            }
        }
    }

    /// Returns the header with user and password, if they are known.
    async fn basic(&self, host: &HostState, request: &Request<'_>) -> Result<Option<HeaderValue>> {
        let cached = lock(&host.basics).get(request.repository).cloned();
        if let Some(header) = cached {
            return Ok(header);
        }
        let header = match self.credential(request).await? {
            Some(Credential::Password { user, password }) => {
                Some(basic_header(&user, password.reveal()))
            }
            Some(Credential::Identity(_)) | None => None,
        };
        lock(&host.basics).insert(request.repository.to_owned(), header.clone());
        Ok(header)
    }

    async fn credential(&self, request: &Request<'_>) -> Result<Option<Credential>> {
        let credentials = self.state.options.credentials.clone();
        let (host, repository) = (request.host.to_owned(), request.repository.to_owned());
        // A helper is a program that may take its time.
        let task = tokio::task::spawn_blocking(move || credentials.find(&host, &repository));
        match task.await {
            Ok(outcome) => outcome.map_err(|error| request.invalid(error)),
            Err(error) => Err(request.network_error(error.to_string())),
        }
    }

    /// Requests a token.
    async fn token(
        &self,
        host: &HostState,
        request: &Request<'_>,
        realm: &Url,
        service: Option<&str>,
        patience: Duration,
    ) -> Result<Token> {
        let request =
            &Request { object: format!("token for {}", request.object), ..request.clone() };
        // Without TLS, anybody on the way could read password and token.
        host.reach.admit(realm).map_err(|refusal| {
            request.invalid(Error::bad_input(request.object_place(), refusal))
        })?;
        let credential = self.credential(request).await?;
        let sent = token_request(realm, service, &request.scopes(), credential.as_ref());
        self.state.requests.fetch_add(1, Relaxed);
        let sending = host.transport.send(&sent);
        let response = match tokio::time::timeout(patience, sending).await {
            Err(_) => return Err(request.error(RequestErrorKind::Silent { waited: patience })),
            // `Unreachable` is about the registry itself.
            Ok(Err(TransportError::Connect(message))) => return Err(request.network_error(message)),
            Ok(Err(error)) => return Err(request.transport_error(error)),
            Ok(Ok(response)) => response,
        };
        if response.status().is_redirection() {
            let (server, status) = (realm.origin(), response.status());
            let what = format!(
                "the token server {server} redirects (status {}); secrets go only to the token \
                 server that the registry names: correct the registry's realm",
                status.as_u16()
            );
            return Err(request.invalid(Error::bad_input(request.object_place(), what)));
        }
        let login = if credential.is_some() { Login::Credentials } else { Login::Anonymous };
        if response.status() != StatusCode::OK {
            let mut error = self.refusal(request, response, login).await;
            // The user did not request the token server's address.
            if let RequestErrorKind::NotFound { message } = error.kind {
                error.kind = RequestErrorKind::Refused { status: 404, message };
            }
            return Err(error);
        }
        let body = self.body(request, response, MAX_TOKEN_BYTES).await?;
        Token::parse(&body, credential.is_some(), Instant::now()).ok_or_else(|| {
            let what = "the token server's response has no token";
            request.invalid(Error::bad_input(request.place(), what))
        })
    }
}

impl HostState {
    /// Stores the challenge of a refusal. Returns true if another attempt makes sense.
    pub(super) fn accept_challenge(&self, response: &Response, scopes: &[String]) -> bool {
        let values = response.headers().get_all(WWW_AUTHENTICATE);
        let Some(challenge) = Challenge::parse(values.iter().filter_map(|v| v.to_str().ok()))
        else {
            return false;
        };
        // The token is no longer valid, or the password has changed.
        lock(&self.tokens).remove(&scopes.join(" "));
        lock(&self.basics).clear();
        *lock(&self.challenge) = Some(challenge);
        true
    }
}

/// Composes the request for a token.
fn token_request(
    realm: &Url,
    service: Option<&str>,
    scopes: &[String],
    credential: Option<&Credential>,
) -> HttpRequest {
    if let Some(Credential::Identity(token)) = credential {
        // OAuth wants one parameter with all scopes.
        let pairs = [
            ("grant_type", "refresh_token"),
            ("client_id", "imgdelta"),
            ("service", service.unwrap_or_default()),
            ("scope", &scopes.join(" ")),
            ("refresh_token", token.reveal()),
        ];
        let form = pairs.map(|(name, value)| format!("{name}={}", encoded(value))).join("&");
        let mut request = HttpRequest::new(Method::POST, realm.clone());
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers.insert(CONTENT_TYPE, kind);
        request.body = RequestBody::Bytes(form.into());
        return request;
    }
    let mut request = HttpRequest::new(Method::GET, realm.clone());
    if let Some(service) = service {
        request.url.append("service", service);
    }
    for scope in scopes {
        request.url.append("scope", scope);
    }
    if let Some(Credential::Password { user, password }) = credential {
        request.headers.insert(AUTHORIZATION, basic_header(user, password.reveal()));
    }
    request
}

fn basic_header(user: &str, password: &str) -> HeaderValue {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    secret_header(&format!("Basic {pair}"))
}

fn secret_header(text: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(text).expect("base64, or a token of visible characters");
    value.set_sensitive(true);
    value
}

const MAX_TOKEN_BYTES: u64 = 1 << 20;
