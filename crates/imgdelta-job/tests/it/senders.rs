//! Senders of notifications: those that show the secret, and those that sign the body with it.

use imgdelta_job::{Config, Job, Stop, StopPhase};
use imgdelta_registry::{Credentials, Proxies};
use imgdelta_testkit::{
    http_client::request,
    registry::{RegistryBehaviour, TestRegistry},
};
use ring::hmac;
use std::{fmt::Write as _, sync::Arc};

const SECRET: &str = "hunter2";

fn signature(secret: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, body.as_bytes());
    let mut line = String::from("X-Hub-Signature-256: sha256=");
    for byte in tag.as_ref() {
        write!(line, "{byte:02x}").unwrap();
    }
    line + "\r\n"
}

#[tokio::test(flavor = "multi_thread")]
async fn senders_show_the_secret_or_sign_with_it() {
    let registry = TestRegistry::start(RegistryBehaviour::default());
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("secret"), SECRET).unwrap();
    let place = dir.path().display();
    let text = format!(
        "[registry]\nhost = \"{}\"\n[queue]\nsqlite = \"{place}/queue.db\"\n[budget]\n\
         scratch = \"{place}\"\n[serve]\nlisten = \"127.0.0.1:0\"\npoll = \"30d\"\n\
         secret-file = \"{place}/secret\"\n[[rule]]\nrepositories = [\"team/app\"]\n",
        registry.host()
    );
    let config = Config::parse(&text, "job.toml").unwrap();
    let job = Job::open(config, Credentials::none(), Proxies::none()).await.unwrap();
    let (stop, (send, receive)) = (Stop::default(), tokio::sync::oneshot::channel());
    let serving = {
        let stop = stop.clone();
        let listening = |address| send.send(address).unwrap();
        tokio::spawn(async move { job.serve(&stop, Arc::new(|_| ()), listening).await })
    };
    let address = receive.await.unwrap();

    let github = include_str!("../../src/webhook/notifications/github-package.json");
    let ping = include_str!("../../src/webhook/notifications/github-ping.json");
    let quay = include_str!("../../src/webhook/notifications/quay.json");
    // `anybody:hunter2`, as a client sends the login of an address.
    let login = "Authorization: Basic YW55Ym9keTpodW50ZXIy\r\n";
    let large = format!("{{\"padding\": \"{}\"}}", "x".repeat(300_000));
    let rows = [
        ("GitHub", signature(SECRET, github), github, 202),
        ("GitHub, to see if we are here", signature(SECRET, ping), ping, 202),
        ("GitHub, with another secret", signature("hunter3", github), github, 401),
        ("GitHub, without a secret", String::new(), github, 401),
        ("a signature of another body", signature(SECRET, github), quay, 401),
        ("half a signature", signature(SECRET, github)[..40].to_owned() + "\r\n", github, 401),
        ("a signed body larger than any of GitHub", signature(SECRET, &large), &large, 413),
        ("Quay, with a login in the address", login.to_owned(), quay, 202),
        ("Quay, without one", String::new(), quay, 401),
        ("Harbor", "Authorization: Bearer hunter2\r\n".to_owned(), quay, 202),
    ];
    for (sender, head, body, status) in rows {
        assert_eq!(request(address, "POST /notify", &head, body).0, status, "{sender}");
    }
    stop.request(StopPhase::Finishing);
    serving.await.unwrap().unwrap();
}
