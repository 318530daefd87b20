//! HTTP for [imgdelta](https://docs.rs/imgdelta): requests to a server and to those that it leads to.
//!
//! The client of `imgdelta-registry` is built on it, which speaks the protocol of registries. This
//! crate knows addresses, connections, proxies and redirects. It knows neither manifests nor blobs,
//! finds no login, and repeats no request by itself.
//!
//! - [`Transport`] sends an [`HttpRequest`] over a pooled connection and returns a [`Response`],
//!   whose body is read in pieces; [`send_and_follow`] follows redirects, too;
//! - [`Reach`] holds the rule for the servers that a server may lead to;
//! - [`Proxies`] holds the user's proxies;
//! - [`Retry`] computes the waits between attempts, and [`pace`] the slowest rates of a server;
//! - [`Url`] is an address without guesses.

mod host;
pub mod pace;
mod proxies;
mod reach;
mod redirect;
mod retry;
mod transport;
mod url;

pub use host::{is_host, is_loopback, is_this_machine};
pub use proxies::Proxies;
pub use reach::{Reach, UnreachableAddress};
pub use redirect::send_and_follow;
pub use retry::{Retry, retry_after};
pub use transport::{
    CONNECT_TIMEOUT, HttpRequest, RequestBody, Response, Transport, TransportError,
};
pub use url::{Url, UrlError, encoded};
