//! Authentication challenges of registries, and tokens.
//!
//! Parses and composes. The client sends, and decides the addresses that may get secrets.

use imgdelta_credentials::Secret;
use imgdelta_http::Url;
use serde::Deserialize;
use std::time::{Duration, Instant};

/// Authentication that a registry requires with status 401.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User and password with each request.
    Basic,
    /// A token from a token server.
    Bearer {
        /// The token server.
        realm: Url,
        /// The service that the tokens are for.
        service: Option<String>,
    },
}

impl Challenge {
    /// Parses the values of `WWW-Authenticate`; prefers tokens.
    pub(crate) fn parse<'a>(values: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut found = None;
        for value in values {
            for (scheme, parameters) in challenges(value) {
                if scheme.eq_ignore_ascii_case("basic") {
                    found.get_or_insert(Self::Basic);
                }
                let of = |name: &str| {
                    let named = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                    named.map(|(_, value)| value.clone())
                };
                if scheme.eq_ignore_ascii_case("bearer")
                    && let Some(realm) = of("realm").and_then(|realm| Url::parse(&realm).ok())
                {
                    return Some(Self::Bearer { realm, service: of("service") });
                }
            }
        }
        found
    }
}

/// Parses `Scheme key="value", key=value, Other key=…`.
fn challenges(value: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = value.trim_start_matches([' ', ',']);
    while !rest.is_empty() {
        let end = rest.find([' ', '=', ',']).unwrap_or(rest.len());
        let word = &rest[..end];
        rest = rest[end..].trim_start_matches(' ');
        match rest.strip_prefix('=') {
            Some(after) if !found.is_empty() => {
                let (text, after) = value_of(after.trim_start_matches(' '));
                found.last_mut().expect("not empty").1.push((word.to_owned(), text));
                rest = after;
            }
            // A parameter without a scheme means nothing.
            Some(after) => rest = value_of(after).1,
            None => found.push((word.to_owned(), Vec::new())),
        }
        rest = rest.trim_start_matches([' ', ',']);
    }
    found
}

/// Parses a value, with or without quotes, and returns the rest of the text.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let (mut value, mut is_escaped) = (String::new(), false);
    for (at, c) in quoted.char_indices() {
        match c {
            _ if is_escaped => {
                value.push(c);
                is_escaped = false;
            }
            '\\' => is_escaped = true,
            '"' => return (value, &quoted[at + 1..]),
            c => value.push(c),
        }
    }
    (value, "")
}

/// A token with its end of validity.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub secret: Secret,
    pub until: Instant,
    /// It was requested with a login.
    pub is_authenticated: bool,
}

impl Token {
    /// Parses a token server's response.
    pub(crate) fn parse(body: &[u8], is_authenticated: bool, now: Instant) -> Option<Self> {
        #[derive(Deserialize)]
        struct TokenResponse {
            #[serde(default)]
            token: String,
            #[serde(default)]
            access_token: String,
            expires_in: Option<u64>,
        }
        let response: TokenResponse = serde_json::from_slice(body).ok()?;
        let text = if response.token.is_empty() { response.access_token } else { response.token };
        // A header cannot hold other characters.
        if text.is_empty() || text.bytes().any(|byte| !(0x21..0x7f).contains(&byte)) {
            return None;
        }
        let seconds = response.expires_in.unwrap_or(DEFAULT_SECONDS).clamp(1, MAX_SECONDS);
        // A little earlier, so that it does not expire on its way.
        let valid = Duration::from_secs(seconds) * 9 / 10;
        Some(Self { secret: Secret::new(text), until: now + valid, is_authenticated })
    }
}

/// Actions that a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actions {
    Pull,
    Push,
    Delete,
    /// To list the repositories.
    Catalog,
}

/// Returns the token servers' name for actions in a repository.
pub(crate) fn scope(repository: &str, actions: Actions) -> String {
    let actions = match actions {
        Actions::Pull => "pull",
        Actions::Push => "pull,push",
        Actions::Delete => "pull,push,delete",
        Actions::Catalog => return "registry:catalog:*".into(),
    };
    format!("repository:{repository}:{actions}")
}

/// The token specification's value for a response without a lifetime.
const DEFAULT_SECONDS: u64 = 60;
const MAX_SECONDS: u64 = 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(values: &[&str]) -> Option<Challenge> {
        Challenge::parse(values.iter().copied())
    }

    #[test]
    fn challenges_are_parsed_in_all_their_spellings() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer {
                realm: Url::parse(realm).unwrap(),
                service: service.map(str::to_owned),
            })
        };
        let value = r#"Bearer realm="https://a.example/t?x=1,2",service="r.example",scope="repository:x:pull""#;
        assert_eq!(parse(&[value]), bearer("https://a.example/t?x=1,2", Some("r.example")));
        assert_eq!(
            parse(&[r#"Basic realm="x""#, value]),
            bearer("https://a.example/t?x=1,2", Some("r.example"))
        );
        assert_eq!(parse(&[r#"basic realm="a, Bearer realm=b""#]), Some(Challenge::Basic));
        assert_eq!(parse(&["bearer REALM=http://h/t"]), bearer("http://h/t", None));
        assert_eq!(
            parse(&[r#"Basic realm="x", Bearer realm="http://h/t", service=s"#]),
            bearer("http://h/t", Some("s"))
        );
        for nothing in [
            "",
            "Bearer",
            "Negotiate",
            "realm=x",
            r#"Bearer realm="no url""#,
            "=,=\"",
            "Bearer realm=\"http://h/\\",
        ] {
            let _ = parse(&[nothing]);
        }
        assert_eq!(parse(&["Negotiate"]), None);
        assert_eq!(parse(&["realm=x"]), None);
    }

    #[test]
    fn tokens_are_used_for_less_than_their_lifetime() {
        let now = Instant::now();
        let token = Token::parse(br#"{"access_token":"abc","expires_in":100}"#, true, now).unwrap();
        assert_eq!((token.secret.reveal(), token.until - now), ("abc", Duration::from_secs(90)));
        let token = Token::parse(br#"{"token":"abc"}"#, false, now).unwrap();
        assert_eq!(token.until - now, Duration::from_secs(54));
        for wrong in [&br#"{"token":""}"#[..], b"{}", b"", br#"{"token":"a\r\nb"}"#] {
            assert!(Token::parse(wrong, false, now).is_none());
        }
        assert_eq!(scope("a/b", Actions::Push), "repository:a/b:pull,push");
    }
}
