//! Clients that are slow, endless or many: their places are bounded, and pulls go on.

use super::{
    site::{App, Site, SiteSettings},
    *,
};
use imgdelta_testkit::wait_until;

const REPOSITORY: &str = "team/app";
const PATIENCE: Duration = Duration::from_secs(120);
/// Held by tests that open hundreds of connections, so that a process may open them all.
static MANY_CONNECTIONS: Mutex<()> = Mutex::new(());

#[test]
fn slow_requests_take_bounded_places_and_pulls_go_on() {
    let _guard = MANY_CONNECTIONS.lock();
    let apps = App::pair(20);
    let Some(site) = Site::with_base(SiteSettings::default(), REPOSITORY, &apps) else { return };
    // More than all places and the reserve, each in the middle of a header.
    let mut slow: Vec<TcpStream> = (0..330)
        .map(|_| {
            let mut client = TcpStream::connect(site.mirror().address).unwrap();
            client.write_all(b"GET /v2/ HTTP/1.1\r\nX: ").unwrap();
            client
        })
        .collect();
    // The mirror closes some of them.
    let mut drip = || slow.iter_mut().for_each(|client| drop(client.write_all(b"x")));
    drip();
    assert_eq!(site.mirror().get("/healthz").status, 200);
    let refused = site.mirror().get(&format!("/v2/{REPOSITORY}/manifests/v1"));
    assert_eq!(refused.status, 503, "the reserve is for health checks");
    let name = site.name(REPOSITORY, "v1");
    site.pull(&name, None);
    site.has_files(&name, &apps[1]);
    // A head has a limited time, however regularly its bytes come; then the places are free.
    wait_until("the places are free", PATIENCE, || {
        drip();
        site.mirror().get("/v2/").status == 200
    });
    site.has_no_other_snapshots(&[&apps[0], &apps[1]]);
    site.ends_empty();
}

#[test]
fn half_of_the_places_with_slow_requests_leave_pulls_by_delta() {
    let _guard = MANY_CONNECTIONS.lock();
    let apps = App::pair(21);
    let Some(site) = Site::with_base(SiteSettings::default(), REPOSITORY, &apps) else { return };
    let slow: Vec<TcpStream> = (0..128)
        .map(|_| {
            let mut client = TcpStream::connect(site.mirror().address).unwrap();
            client.write_all(b"GET /v2/ HTTP/1.1\r\nX: ").unwrap();
            client
        })
        .collect();
    let fetched = site.pull(&site.name(REPOSITORY, "v1"), None);
    assert_eq!(fetched, Site::small_objects(REPOSITORY, &apps[1]));
    assert_eq!(site.status().rebuilt, 1);
    drop(slow);
    site.ends_empty();
}

#[test]
fn endless_requests_end_after_bounded_bytes() {
    let Some(mut site) = Site::start(SiteSettings::default()) else { return };
    site.start_mirror();
    let long_header = "x".repeat(8192);
    let many_headers = "X: y\r\n".repeat(1000);
    let chunk = format!("2000\r\n{}\r\n", "x".repeat(0x2000));
    let start = "GET /healthz HTTP/1.1\r\nHost: m\r\n";
    let body = format!("{start}Transfer-Encoding: chunked\r\n\r\n");
    let length = format!("{start}Content-Length: 18446744073709551615\r\n\r\n");
    let path = "GET /v2/".to_owned();
    for (what, start, piece) in [
        ("a path", &path, &long_header),
        ("a header", &format!("{start}X: "), &long_header),
        ("headers", &start.to_owned(), &many_headers),
        ("a body of chunks", &body, &chunk),
        ("a body of a length", &length, &chunk),
    ] {
        let mut client = TcpStream::connect(site.mirror().address).unwrap();
        client.write_all(start.as_bytes()).unwrap();
        let mut sent = 0;
        while sent < MOST_SENT && client.write_all(piece.as_bytes()).is_ok() {
            sent += piece.len();
        }
        assert!(sent < MOST_SENT, "{what} without end is read");
        assert_eq!(site.mirror().get("/healthz").status, 200, "{what}");
    }
    site.ends_empty();
}

/// Much more than the buffers of a connection.
const MOST_SENT: usize = 64 << 20;
