//! Logins at container registries, from the files and helpers of docker and podman.
//!
//! Sends nothing, and shows no secret.

mod credentials;
mod secret;

pub use credentials::Credentials;
pub use secret::{Credential, Secret};
