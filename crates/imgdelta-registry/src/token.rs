//! How a registry wants to be convinced: its challenge, and the tokens that answer it.
//!
//! Reads and composes; the sending is the client's, which also says where secrets may go.

use crate::secret::Secret;
use reqwest::Url;
use serde::Deserialize;
use std::time::{Duration, Instant};

/// What a registry asks for with status 401.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User and password with each request.
    Basic,
    /// A token from another address.
    Bearer {
        /// Where tokens are had.
        realm: Url,
        /// What the tokens are for.
        service: Option<String>,
    },
}

impl Challenge {
    /// Reads the values of `WWW-Authenticate`; tokens are preferred.
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

/// Splits `Scheme key="value", key=value, Other key=…`.
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

/// Reads a value, in quotes or without, and returns what follows.
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

/// A token, and until when it is good.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub secret: Secret,
    pub until: Instant,
}

impl Token {
    /// Reads what a token server answers.
    pub(crate) fn parse(body: &[u8], now: Instant) -> Option<Self> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            token: String,
            #[serde(default)]
            access_token: String,
            expires_in: Option<u64>,
        }
        let answer: Answer = serde_json::from_slice(body).ok()?;
        let text = if answer.token.is_empty() { answer.access_token } else { answer.token };
        // What cannot stand in a header is no token.
        if text.is_empty() || text.bytes().any(|byte| !(0x21..0x7f).contains(&byte)) {
            return None;
        }
        let seconds = answer.expires_in.unwrap_or(DEFAULT_SECONDS).clamp(1, MOST_SECONDS);
        // A little earlier, so that it does not expire on its way.
        let good = Duration::from_secs(seconds) * 9 / 10;
        Some(Self { secret: Secret::new(text), until: now + good })
    }
}

/// What a token is to allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actions {
    Pull,
    Push,
    Delete,
    /// To see which repositories there are.
    Catalog,
}

/// Returns how token servers name what is to be done in a repository.
pub(crate) fn scope(repository: &str, actions: Actions) -> String {
    let actions = match actions {
        Actions::Pull => "pull",
        Actions::Push => "pull,push",
        Actions::Delete => "pull,push,delete",
        Actions::Catalog => return "registry:catalog:*".into(),
    };
    format!("repository:{repository}:{actions}")
}

/// What the specification of tokens says where the server is silent.
const DEFAULT_SECONDS: u64 = 60;
const MOST_SECONDS: u64 = 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(values: &[&str]) -> Option<Challenge> {
        Challenge::parse(values.iter().copied())
    }

    #[test]
    fn challenges_are_read_in_all_their_spellings() {
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
    fn tokens_are_good_a_little_shorter_than_told() {
        let now = Instant::now();
        let token = Token::parse(br#"{"access_token":"abc","expires_in":100}"#, now).unwrap();
        assert_eq!((token.secret.reveal(), token.until - now), ("abc", Duration::from_secs(90)));
        let token = Token::parse(br#"{"token":"abc"}"#, now).unwrap();
        assert_eq!(token.until - now, Duration::from_secs(54));
        for wrong in [&br#"{"token":""}"#[..], b"{}", b"", br#"{"token":"a\r\nb"}"#] {
            assert!(Token::parse(wrong, now).is_none());
        }
        assert_eq!(scope("a/b", Actions::Push), "repository:a/b:pull,push");
    }
}
