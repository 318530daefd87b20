//! Logins at container registries, and the certificates of their servers, from the files and helpers
//! of docker and podman.
//!
//! Sends nothing, and shows no secret.

mod certificates;
mod credentials;
mod secret;
mod trust;

pub use credentials::Credentials;
pub use secret::{Credential, Secret};
pub use trust::Trust;
