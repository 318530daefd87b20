//! New connections: name, address, TCP, proxy, TLS.
//!
//! Names are resolved once for each connection, and only admitted addresses are tried. Sends nothing
//! except what a proxy and TLS need.

use super::{
    error::{TransportError, describe},
    pool::RequestSender,
    stream::{ByteStream, start_http},
    tunnel,
};
use crate::{
    proxies::{Proxies, Proxy},
    reach::Reach,
    url::Url,
};
use rustls::{ClientConfig, pki_types::ServerName};
use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};
use tokio::{
    net::{TcpStream, lookup_host},
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;

/// Opens connections for one registry.
pub(super) struct Connector {
    reach: Arc<Reach>,
    tls: TlsConnector,
    proxies: Proxies,
}

impl Connector {
    pub fn new(reach: Arc<Reach>, mut tls: ClientConfig, proxies: Proxies) -> Self {
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { reach, tls: TlsConnector::from(Arc::new(tls)), proxies }
    }

    /// Returns the proxy for an address.
    pub fn proxy(&self, url: &Url) -> Result<Option<&Proxy>, TransportError> {
        self.proxies.find(url).map_err(TransportError::Proxy)
    }

    /// Opens a connection to the server of an address.
    pub async fn connect(
        &self,
        url: &Url,
        proxy: Option<&Proxy>,
    ) -> Result<RequestSender, TransportError> {
        let opened = timeout(CONNECT_TIMEOUT, self.open(url, proxy)).await;
        let stream = opened.unwrap_or_else(|_| {
            let seconds = CONNECT_TIMEOUT.as_secs();
            let server = proxy.map_or(url, |proxy| &proxy.url).authority();
            Err(TransportError::Connect(format!("no connection to {server} in {seconds} s")))
        })?;
        let started = start_http(stream).await;
        started.map_err(|error| TransportError::Connect(describe(&error)))
    }

    async fn open(
        &self,
        url: &Url,
        proxy: Option<&Proxy>,
    ) -> Result<Box<dyn ByteStream>, TransportError> {
        let stream = match proxy {
            None => open_tcp(url, self.addresses(url).await?).await?,
            Some(proxy) => {
                // The user names the proxy, so it may be anywhere.
                let addresses = resolved(&proxy.url).await?;
                let stream = open_tcp(&proxy.url, addresses).await?;
                let stream = self.secured(&proxy.url, stream).await?;
                match url.scheme() {
                    "https" => tunnel::open(stream, proxy, url).await?,
                    _ => return Ok(stream),
                }
            }
        };
        self.secured(url, stream).await
    }

    /// Returns the addresses of a server that the registry may lead to.
    async fn addresses(&self, url: &Url) -> Result<Vec<SocketAddr>, TransportError> {
        let found = resolved(url).await?;
        match url.address() {
            Some(_) => Ok(found),
            None => self.reach.admit_addresses(url.host(), found).map_err(TransportError::Refused),
        }
    }

    /// Starts TLS if the scheme requires it.
    async fn secured(
        &self,
        url: &Url,
        stream: Box<dyn ByteStream>,
    ) -> Result<Box<dyn ByteStream>, TransportError> {
        if url.scheme() != "https" {
            return Ok(stream);
        }
        let failed = |error: &dyn std::error::Error| {
            TransportError::Connect(format!("TLS with {}: {}", url.authority(), describe(error)))
        };
        let name = url.bare_host().trim_end_matches('.').to_owned();
        let name = ServerName::try_from(name).map_err(|error| failed(&error))?;
        match self.tls.connect(name, stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(failed(&error)),
        }
    }
}

/// Resolves the server of an address.
async fn resolved(url: &Url) -> Result<Vec<SocketAddr>, TransportError> {
    if let Some(address) = url.address() {
        return Ok(vec![SocketAddr::new(address, url.port())]);
    }
    match lookup_host((url.host(), url.port())).await {
        Ok(found) => Ok(found.collect()),
        Err(error) => {
            let message = format!("no address of {}: {}", url.host(), describe(&error));
            Err(TransportError::Connect(message))
        }
    }
}

async fn open_tcp(
    url: &Url,
    addresses: Vec<SocketAddr>,
) -> Result<Box<dyn ByteStream>, TransportError> {
    let failed = |error: io::Error| {
        TransportError::Connect(format!("connection to {}: {}", url.authority(), describe(&error)))
    };
    let stream = first_of(addresses).await.map_err(failed)?;
    // A request is written at once; waiting for more bytes only delays it.
    stream.set_nodelay(true).map_err(failed)?;
    Ok(Box::new(stream))
}

/// Connects to the first address that accepts. Addresses of the other IP version join after a
/// moment, so that a network without one of them costs no timeout (RFC 8305).
async fn first_of(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (preferred, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    if other.is_empty() {
        return each_of(preferred).await;
    }
    let mut attempts = [Some(pin!(each_of(preferred)) as _), None::<PinnedAttempt<'_>>];
    let mut delayed = pin!(async {
        sleep(OTHER_VERSION_WAIT).await;
        each_of(other).await
    });
    attempts[1] = Some(delayed.as_mut());
    let mut failure = None;
    poll_fn(|context| {
        for attempt in &mut attempts {
            let Some(running) = attempt else { continue };
            match running.as_mut().poll(context) {
                Poll::Ready(Ok(stream)) => return Poll::Ready(Ok(stream)),
                Poll::Ready(Err(error)) => {
                    failure.get_or_insert(error);
                    *attempt = None;
                }
                Poll::Pending => {}
            }
        }
        if attempts.iter().any(Option::is_some) {
            return Poll::Pending;
        }
        Poll::Ready(Err(failure.take().expect("both attempts failed")))
    })
    .await
}

/// An attempt to connect to addresses of one IP version.
type PinnedAttempt<'a> = Pin<&'a mut (dyn Future<Output = io::Result<TcpStream>> + Send)>;

/// Connects to one address after the other; each has an equal part of the time.
async fn each_of(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match timeout(CONNECT_TIMEOUT / count, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = error,
            Err(_) => failure = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failure)
}

/// Time for name, TCP, proxy and TLS together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// The wait that RFC 8305 recommends, and a little more.
const OTHER_VERSION_WAIT: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn an_address_that_refuses_does_not_hide_one_that_accepts() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let accepts = listener.local_addr().unwrap();
        // Nothing listens on these, whether or not this machine has IPv6.
        let refuses = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), accepts.port()));
        let other_version = SocketAddr::from((Ipv6Addr::LOCALHOST, accepts.port()));
        for addresses in [
            vec![accepts],
            vec![refuses, accepts],
            vec![accepts, other_version],
            vec![other_version, refuses, accepts],
        ] {
            assert_eq!(first_of(addresses).await.unwrap().peer_addr().unwrap(), accepts);
        }
        for addresses in [vec![], vec![refuses], vec![other_version, refuses]] {
            first_of(addresses).await.unwrap_err();
        }
    }
}
