//! Secrets: passwords and tokens that must not be printed.
//!
//! Never shows the text. Code that needs it calls [`Secret::reveal`], which is easy to search for.

use std::fmt;

/// A password or a token. Its `Debug` form does not show the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text, for a request and never for a message.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns true if the text is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A login at a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A user and a password, sent with each request or exchanged for tokens.
    Password {
        /// The user's name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// An OAuth refresh token, exchanged for access tokens.
    Identity(Secret),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let credential =
            Credential::Password { user: "me".into(), password: Secret::new("hunter2") };
        let shown = format!("{credential:?} {:#?}", Credential::Identity(Secret::new("hunter2")));
        assert!(shown.contains("me") && !shown.contains("hunter2"), "{shown}");
        assert_eq!(Secret::new("hunter2").reveal(), "hunter2");
    }
}
