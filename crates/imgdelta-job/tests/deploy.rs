//! The examples in docs/job.md and deploy/ agree with the program.

use imgdelta_job::{Config, metrics::Metrics, queue::TaskCounts};
use imgdelta_registry::Traffic;
use imgdelta_testkit::pages::{agree_on_metrics, are_tests, has_every_key, metrics_in, text, top};
use std::{fs, process::Command};

#[test]
fn the_page_shows_a_configuration_with_every_key() {
    let page = text("docs/job.md");
    let block = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(block, text("deploy/job.toml"), "docs/job.md repeats deploy/job.toml");
    let config = Config::parse(block, "deploy/job.toml").unwrap();
    assert_eq!(config.rules.get_ref().len(), 2);
    let other = block
        .replace("sqlite =", "# sqlite =")
        .replace("# postgres =", "postgres =")
        .replace("# ca =", "ca =")
        .replace("# password-file", "password-file");
    let queue = Config::parse(&other, "with postgres").unwrap().queue;
    assert!(queue.postgres.unwrap().get_ref().uses_tls() && queue.ca.is_some());
    // The example contains every key of the configuration.
    assert!(has_every_key(block, "crates/imgdelta-job/src/config.rs", "rules") > 35);
}

#[test]
fn the_deployed_configurations_are_valid() {
    let config = Config::parse(&text("deploy/compose-job.toml"), "compose").unwrap();
    let server = config.queue.postgres.unwrap();
    assert!(!server.get_ref().uses_tls(), "its PostgreSQL has no certificate");
    let kubernetes = text("deploy/kubernetes.yaml");
    let block = kubernetes.split("job.toml: |\n").nth(1).unwrap().split("---").next().unwrap();
    let block: Vec<&str> =
        block.lines().map(|line| line.strip_prefix("    ").unwrap_or(line)).collect();
    let config = Config::parse(&block.join("\n"), "kubernetes").unwrap();
    assert_eq!(config.serve.listen.port(), 9610);
    assert!(kubernetes.contains("containerPort: 9610"));
    assert!(config.queue.postgres.unwrap().get_ref().uses_tls());
    let secrets = kubernetes.lines().find(|line| line.contains("create secret")).unwrap();
    for file in
        [&config.queue.ca.unwrap().get_ref().0[0], config.queue.password_file.unwrap().get_ref()]
    {
        let name = file.strip_prefix("/secrets").unwrap().display();
        assert!(secrets.contains(&format!("--from-file={name}")), "{name}");
    }
    for path in ["/healthz", "/readyz"] {
        assert!(kubernetes.contains(&format!("path: {path},")), "{path}");
    }
}

#[test]
fn queried_metrics_exist_and_are_documented() {
    let printed = Metrics::default().text(Some(TaskCounts::default()), Traffic::default());
    assert!(metrics_in(&printed).len() > 15, "{printed}");
    agree_on_metrics(&printed, "docs/job.md", "deploy/alerts.yaml", "deploy/grafana.json");
}

#[test]
fn every_promise_of_the_page_names_an_existing_test() {
    let page = text("docs/job.md");
    let table = page.split("## Promises and their tests").nth(1).unwrap();
    let table = table.split("\n## ").next().unwrap();
    let names: Vec<&str> = table.split('`').filter(|name| name.matches('_').count() > 2).collect();
    assert!(names.len() > 20, "{names:?}");
    let folders =
        ["imgdelta-job/src", "imgdelta-job/tests", "imgdelta-cli/tests", "imgdelta-service/src"];
    are_tests(&names, &folders);
}

/// Checks rules and metrics with Prometheus, where it is installed; with `CI=true` it must be.
#[test]
fn prometheus_agrees() {
    let is_here = Command::new("promtool").arg("--version").output().is_ok();
    let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(is_here || !is_ci, "CI needs promtool");
    if !is_here {
        eprintln!("skipped: promtool not installed");
        return;
    }
    let check = |args: &[&str], input: Option<fs::File>| {
        let mut command = Command::new("promtool");
        command.args(args).current_dir(top());
        if let Some(input) = input {
            command.stdin(input);
        }
        let output = command.output().unwrap();
        let message = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {message}");
    };
    check(&["check", "rules", "deploy/alerts.yaml"], None);
    let mut file = tempfile::tempfile().unwrap();
    let page = Metrics::default().text(Some(TaskCounts::default()), Traffic::default());
    std::io::Write::write_all(&mut file, page.as_bytes()).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    check(&["check", "metrics"], Some(file));
}
