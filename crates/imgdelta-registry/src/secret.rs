//! Text that must not be shown: passwords and tokens.
//!
//! Nothing here prints it; who needs the text says `reveal`, which is easy to search for.

use std::fmt;

/// A password or a token.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text, to be sent and not to be shown.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Who one is at a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A user and a password, sent as they are or exchanged for tokens.
    Password {
        /// The user's name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A token that others are had for.
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
