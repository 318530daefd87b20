//! The examples in docs/job.md and deploy/ agree with the program.

use imgdelta_core::limits::parse_size;
use imgdelta_job::{
    Config,
    metrics::{Gauges, Metrics, QueueGauges},
};
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
    let config = Config::parse(&text("deploy/job/base/job.toml"), "kubernetes").unwrap();
    let deployment = text("deploy/job/serve/deployment.yaml");
    assert!(deployment.contains(&format!("containerPort: {}}}", config.serve.listen.port())));
    assert!(config.queue.postgres.unwrap().get_ref().uses_tls());
    let ca = config.queue.ca.unwrap().get_ref().0[0].clone();
    let secrets = [
        ca,
        config.queue.password_file.unwrap().get_ref().clone(),
        config.registry.auth_file.unwrap(),
        config.serve.secret_file.unwrap(),
    ];
    for page in ["deploy/job/base/kustomization.yaml", "deploy/job/chart/values.yaml"] {
        let page = text(page);
        let line = page.lines().find(|line| line.contains("create secret")).unwrap();
        for file in &secrets {
            let name = file.strip_prefix("/secrets").unwrap().display();
            assert!(line.contains(&format!("--from-file={name}")), "{name}");
        }
    }
    for path in ["/healthz", "/readyz"] {
        assert!(deployment.contains(&format!("path: {path},")), "{path}");
    }
    // The directory for temporary files is larger than the budget, or the pod would be evicted.
    let scratch = config.budget.scratch.display();
    assert!(deployment.contains(&format!("{{name: scratch, mountPath: {scratch}}}")));
    let (_, size) = deployment.split_once("emptyDir: {sizeLimit: ").unwrap();
    let size = parse_size(&size.split('}').next().unwrap().replace("Gi", "GiB")).unwrap();
    assert!(size > config.budget.disk.get_ref().0);
    // SIGKILL comes after the grace period of the program.
    let (_, period) = deployment.split_once("terminationGracePeriodSeconds: ").unwrap();
    let period: u64 = period.lines().next().unwrap().parse().unwrap();
    assert!(period > config.serve.grace.whole_seconds());
}

/// The rules of a file with the indent of the object that contains them.
fn indented(rules: &str) -> String {
    let lines =
        rules.lines().map(|line| if line.is_empty() { String::new() } else { format!("  {line}") });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

#[test]
fn the_rules_of_kubernetes_are_those_of_prometheus() {
    let rules = text("deploy/alerts.yaml");
    assert_eq!(text("deploy/job/chart/alerts.yaml"), rules);
    let object = text("deploy/job/monitoring/prometheusrule.yaml");
    assert_eq!(object.split_once("spec:\n").unwrap().1, indented(&rules));
}

#[test]
fn every_image_of_a_deployment_has_an_exact_version() {
    let version = env!("CARGO_PKG_VERSION");
    let compose = text("deploy/compose.yaml");
    let images: Vec<&str> =
        compose.lines().filter_map(|line| line.trim().strip_prefix("image: ")).collect();
    assert_eq!(images.len(), compose.matches("restart: unless-stopped").count());
    for image in &images {
        let tag = image.rsplit_once(':').unwrap().1;
        assert!(tag.contains('.'), "{image}: a tag that moves");
    }
    assert!(images.contains(&format!("imgdelta:{version}").as_str()));
    for way in ["serve", "nightly", "ready"] {
        let file = text(&format!("deploy/job/{way}/kustomization.yaml"));
        assert!(file.contains(&format!("newTag: \"{version}\"\n")));
    }
    for chart in ["job", "node"] {
        let chart = format!("deploy/{chart}/chart");
        let about = text(&format!("{chart}/Chart.yaml"));
        assert!(about.contains(&format!("\nversion: {version}\nappVersion: {version}\n")));
        assert!(text(&format!("{chart}/values.yaml")).contains(&format!("imgdelta:{version}\n")));
    }
}

/// The page of a process that has done nothing.
fn metrics_page() -> String {
    let gauges = Gauges { queue: Some(QueueGauges::default()), ..Gauges::default() };
    Metrics::default().text(&gauges)
}

#[test]
fn queried_metrics_exist_and_are_documented() {
    let printed = metrics_page();
    assert!(metrics_in(&printed).len() > 25, "{printed}");
    agree_on_metrics(&printed, "docs/job.md", "deploy/alerts.yaml", "deploy/grafana.json");
    let scaling =
        text("deploy/job/keda/scaledobject.yaml") + &text("tests/deploy/alerts.test.yaml");
    let unknown: Vec<_> = metrics_in(&scaling).difference(&metrics_in(&printed)).cloned().collect();
    assert_eq!(unknown, [""; 0]);
}

#[test]
fn every_promise_of_the_page_names_an_existing_test() {
    let page = text("docs/job.md");
    let table = page.split("## Promises and their tests").nth(1).unwrap();
    let table = table.split("\n## ").next().unwrap();
    let names: Vec<&str> = table.split('`').filter(|name| name.matches('_').count() > 2).collect();
    assert!(names.len() > 20, "{names:?}");
    let folders = [
        "imgdelta-job/src",
        "imgdelta-job/tests",
        "imgdelta-queue/src",
        "imgdelta-cli/tests",
        "imgdelta-service/src",
    ];
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
    std::io::Write::write_all(&mut file, metrics_page().as_bytes()).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    check(&["check", "metrics"], Some(file));
}
