//! What convinces a registry: passwords, and tokens fetched for them.
//!
//! Decides where secrets may go: over TLS, to this machine, or where the user said so; a password
//! only to the registry, or to the token server that the registry names.

use super::{Ask, Client, Host, describe, lock};
use crate::{
    endpoint,
    failure::{Failure, Result, Why},
    secret::Credential,
    token::{Challenge, Token},
};
use base64::Engine as _;
use imgdelta_core::Error;
use reqwest::{
    Response, StatusCode, Url,
    header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE},
};
use std::{sync::atomic::Ordering::Relaxed, time::Instant};

impl Client {
    /// Returns the value of the header that convinces, if one is needed.
    pub(super) async fn authorization(
        &self,
        host: &Host,
        ask: &Ask<'_>,
    ) -> Result<Option<HeaderValue>> {
        let challenge = lock(&host.challenge).clone();
        match challenge {
            None => Ok(None),
            Some(Challenge::Basic) => {
                let known = lock(&host.basics).get(ask.repository).cloned();
                if let Some(value) = known {
                    return Ok(value);
                }
                let value = match self.credential(ask).await? {
                    Some(Credential::Password { user, password }) => {
                        Some(basic(&user, password.reveal()))
                    }
                    Some(Credential::Identity(_)) | None => None,
                };
                lock(&host.basics).insert(ask.repository.to_owned(), value.clone());
                Ok(value)
            }
            Some(Challenge::Bearer { realm, service }) => {
                let key = ask.scopes().join(" ");
                let known = lock(&host.tokens).get(&key).cloned();
                let token = if let Some(token) = known.filter(|t| t.until > Instant::now()) {
                    token
                } else {
                    let token = self.token(host, ask, &realm, service.as_deref()).await?;
                    lock(&host.tokens).insert(key, token.clone());
                    token
                };
                Ok(Some(secret_header(&format!("Bearer {}", token.secret.reveal()))))
            }
        }
    }

    async fn credential(&self, ask: &Ask<'_>) -> Result<Option<Credential>> {
        let credentials = self.0.options.credentials.clone();
        let (host, repository) = (ask.host.to_owned(), ask.repository.to_owned());
        // A helper is a program that may take its time.
        let found = tokio::task::spawn_blocking(move || credentials.find(&host, &repository)).await;
        match found {
            Ok(found) => found.map_err(|error| ask.wrong(error)),
            Err(error) => Err(ask.network(error.to_string())),
        }
    }

    async fn token(
        &self,
        host: &Host,
        ask: &Ask<'_>,
        realm: &Url,
        service: Option<&str>,
    ) -> Result<Token> {
        // Whoever stands between could read password and token.
        if !endpoint::is_private(realm, self.0.options.plain_http) {
            let what = "the registry wants tokens fetched from an address without TLS";
            return Err(ask.wrong(Error::bad_input(ask.place(), what)));
        }
        let credential = self.credential(ask).await?;
        let mut url = realm.clone();
        let mut pairs: Vec<(&str, String)> = Vec::new();
        pairs.extend(service.map(|service| ("service", service.to_owned())));
        pairs.extend(ask.scopes().into_iter().map(|scope| ("scope", scope)));
        let request = match &credential {
            Some(Credential::Identity(token)) => {
                // OAuth wants one parameter with all scopes.
                let form = Url::parse_with_params(
                    "http://form/",
                    [
                        ("grant_type", "refresh_token"),
                        ("client_id", "imgdelta"),
                        ("service", service.unwrap_or_default()),
                        ("scope", &ask.scopes().join(" ")),
                        ("refresh_token", token.reveal()),
                    ],
                );
                let form = form.expect("a constant address").query().unwrap_or_default().to_owned();
                let kind = "application/x-www-form-urlencoded";
                host.http.post(url).header("content-type", kind).body(form)
            }
            other => {
                url.query_pairs_mut().extend_pairs(pairs);
                let request = host.http.get(url);
                match other {
                    Some(Credential::Password { user, password }) => {
                        request.header(AUTHORIZATION, basic(user, password.reveal()))
                    }
                    _ => request,
                }
            }
        };
        let asked = Ask { asked: format!("token for {}", ask.asked), ..ask.clone() };
        self.0.requests.fetch_add(1, Relaxed);
        let response = match tokio::time::timeout(self.0.options.idle, request.send()).await {
            Err(_) => return Err(asked.network("no answer".into())),
            Ok(Err(error)) => return Err(asked.network(describe(error))),
            Ok(Ok(response)) => response,
        };
        if response.status() != StatusCode::OK {
            return Err(match self.refusal(&asked, response).await {
                // The address of tokens is not what the user asked for.
                Failure { place, asked, why: Why::NotFound { said } } => {
                    Failure { place, asked, why: Why::Refused { status: 404, said } }
                }
                failure => failure,
            });
        }
        let body = self.body(&asked, response, MOST_TOKEN_BYTES).await?;
        Token::parse(&body, Instant::now()).ok_or_else(|| {
            asked.wrong(Error::bad_input(asked.place(), "the token server's answer has no token"))
        })
    }
}

impl Host {
    /// Takes in what a refusal asks for; whether it is worth asking again.
    pub(super) fn learn(&self, response: &Response, scopes: &[String]) -> bool {
        let values = response.headers().get_all(WWW_AUTHENTICATE);
        let Some(challenge) = Challenge::parse(values.iter().filter_map(|v| v.to_str().ok()))
        else {
            return false;
        };
        // A token that is no longer good, or a password that has changed meanwhile.
        lock(&self.tokens).remove(&scopes.join(" "));
        lock(&self.basics).clear();
        *lock(&self.challenge) = Some(challenge);
        true
    }
}

fn basic(user: &str, password: &str) -> HeaderValue {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    secret_header(&format!("Basic {pair}"))
}

fn secret_header(text: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(text).expect("base64, or a token that was looked at");
    value.set_sensitive(true);
    value
}

const MOST_TOKEN_BYTES: u64 = 1 << 20;
