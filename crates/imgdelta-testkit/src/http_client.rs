//! Requests to a service of this machine, over a connection of their own.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Sends a request, such as `POST /notify`, with further header lines, each with its end. Returns the status
/// and the body.
pub fn request(
    address: SocketAddr,
    line: &str,
    head: &str,
    body: impl AsRef<[u8]>,
) -> (u16, String) {
    let body = body.as_ref();
    let mut connection = TcpStream::connect(address).expect("the service answers");
    connection.set_read_timeout(Some(ANSWER_TIME)).expect("a socket");
    let length = body.len();
    let start = format!(
        "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{head}\r\n"
    );
    connection.write_all(start.as_bytes()).expect("the service reads the head");
    // A service that refuses a body does not read it to its end.
    let _ = connection.write_all(body);
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("an answer of text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}

/// Sends the notification of a push, as distribution does.
pub fn notify(address: SocketAddr, repository: &str, tag: &str) {
    let (status, answer) = request(address, "POST /notify", "", notification(repository, tag));
    assert_eq!(status, 202, "{answer}");
}

/// Returns the notification of a push, as distribution writes it.
pub fn notification(repository: &str, tag: &str) -> String {
    let target = serde_json::json!({"repository": repository, "tag": tag});
    serde_json::json!({"events": [{"action": "push", "target": target}]}).to_string()
}

const ANSWER_TIME: Duration = Duration::from_secs(60);
