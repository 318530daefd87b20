//! docs/node.md and deploy/node/ agree with the program and with each other.

use imgdelta_apply::sink::Sink;
use imgdelta_core::{Error, Result};
use imgdelta_image::{
    image::{Image, OpenOptions},
    reference::RepositoryName,
};
use imgdelta_node::{Config, Runtime, serve};
use imgdelta_service::{Stop, StopPhase};
use imgdelta_testkit::pages::{agree_on_metrics, are_tests, has_every_key, metrics_in, text, top};
use serde_json::{Map, Value, json};
use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, Write as _},
    net::TcpStream,
    process::Command,
    sync::{Arc, mpsc},
};

/// A runtime without images.
#[derive(Debug)]
struct EmptyRuntime;

impl Runtime for EmptyRuntime {
    fn images(&self, _: &str, _: &RepositoryName, _: &OpenOptions) -> Result<Vec<Image>> {
        Ok(Vec::new())
    }

    fn names(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn sink(&self) -> Result<Box<dyn Sink>> {
        Err(Error::bad_input("a runtime without a store", "nothing is staged"))
    }
}

/// Runs a mirror, passes its address to `ask`, and stops it in good order.
fn with_mirror<Answer>(config: &str, ask: impl FnOnce(&str) -> Answer) -> Answer {
    let work = tempfile::tempdir().unwrap();
    let config = format!(
        "[mirror]\nlisten = '127.0.0.1:0'\n[rebuild]\ndirectory = '{}'\n{config}",
        work.path().display()
    );
    let config = Config::parse(&config, "node.toml").unwrap();
    let (sender, address) = mpsc::channel();
    let stop = Stop::default();
    let stopped = stop.clone();
    let thread = std::thread::spawn(move || {
        let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let listening = |address| sender.send(address).unwrap();
        threads.block_on(serve(config, Arc::new(EmptyRuntime), &stopped, listening)).unwrap();
    });
    let answer = ask(&address.recv().unwrap().to_string());
    stop.request(StopPhase::Finishing);
    thread.join().unwrap();
    answer
}

/// The page of metrics of a mirror.
fn metrics_page() -> String {
    with_mirror("[[registry]]\nhost = 'r.test'\n", |address| {
        let mut connection = TcpStream::connect(address).unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: mirror\r\nConnection: close\r\n\r\n";
        connection.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    })
}

#[test]
fn the_page_shows_a_configuration_of_the_mirror_with_every_key() {
    let page = text("docs/node.md");
    let block = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(block, text("deploy/node/example.toml"), "docs/node.md repeats the example");
    let config = Config::parse(block, "deploy/node/example.toml").unwrap();
    assert_eq!(config.registries.get_ref().len(), 2);
    assert!(has_every_key(block, "crates/imgdelta-node/src/config.rs", "registries") > 20);
}

#[test]
fn values_of_the_example_are_the_defaults_where_it_says_so() {
    let example = Config::parse(&text("deploy/node/example.toml"), "example").unwrap();
    let least = Config::parse("[[registry]]\nhost = 'r'\n", "least").unwrap();
    let values = |config: &Config| {
        let Config { mirror, containerd, rebuild, link, log, .. } = config;
        let (listen, hold, held) =
            (mirror.listen.get_ref(), mirror.hold.get_ref(), mirror.held.get_ref());
        let (lease, disk) = (containerd.lease.get_ref(), rebuild.disk.get_ref());
        let stage_lease = containerd.stage_lease.get_ref();
        format!(
            "{listen} {} {hold:?} {held} {:?} {} {} {lease:?} {stage_lease:?} {:?} {:?} {disk:?} {} {} {} {:?} {} \
             {log:?}",
            mirror.allow_other_machines,
            containerd.socket,
            containerd.namespace,
            containerd.snapshotter,
            rebuild.blobs,
            rebuild.directory,
            rebuild.threads,
            rebuild.parallel.get_ref(),
            rebuild.per_minute.get_ref(),
            link.rate.get_ref(),
            link.measured,
        )
    };
    assert_eq!(values(&example), values(&least));
}

/// Removes the indent and the comments of the configuration in a file of Kubernetes.
fn block_after<'a>(text: &'a str, start: &str, indent: &str) -> String {
    let lines = text.split_once(start).unwrap().1.lines();
    let block: Vec<&'a str> = lines.map_while(|line| line.strip_prefix(indent)).collect();
    block.join("\n") + "\n"
}

#[test]
fn the_daemonset_mounts_what_its_configuration_names() {
    let config = Config::parse(&text("deploy/node/node.toml"), "node.toml").unwrap();
    let daemonset = text("deploy/node/daemonset.yaml");
    let socket = config.containerd.socket.parent().unwrap();
    let hosts = config.hosts.directory.unwrap();
    for (name, directory) in
        [("work", config.rebuild.directory.as_path()), ("socket", socket), ("hosts", &hosts)]
    {
        let path = directory.display();
        assert!(daemonset.contains(&format!("{{name: {name}, mountPath: {path}")), "{name}");
        assert!(daemonset.contains(&format!("{{name: {name}, hostPath: {{path: {path}, ")));
    }
    let port = config.mirror.listen.get_ref().port();
    for path in ["/healthz", "/readyz"] {
        let probe = format!("httpGet: {{host: 127.0.0.1, path: {path}, port: {port}}}");
        assert!(daemonset.contains(&probe), "{probe}");
    }
    // A directory that is made by the pod would hide that containerd does not look there.
    assert!(daemonset.contains("certs.d, type: Directory}"));
    assert!(config.mirror.listen.get_ref().ip().is_loopback());
}

/// The values of the chart. All but `config` are scalars or empty.
fn chart_values() -> Map<String, Value> {
    let values = text("deploy/node/chart/values.yaml");
    let lines = values.lines().filter(|line| !line.starts_with(['#', ' ']));
    let pairs = lines.filter_map(|line| line.split_once(": "));
    let parsed = |value: &str| serde_json::from_str(value).unwrap_or_else(|_| value.into());
    let mut values: Map<String, Value> =
        pairs.map(|(name, value)| (name.to_owned(), parsed(value))).collect();
    let config = block_after(&text("deploy/node/chart/values.yaml"), "config: |\n", "  ");
    values.insert("config".into(), config.into());
    values
}

/// Renders the chart with Go's own templates; returns the `ConfigMap` and the `DaemonSet`, without the
/// annotation that restarts it. `None` if Go is not installed.
fn rendered(values: &Map<String, Value>) -> Option<(String, String)> {
    let mut file = tempfile::tempfile().unwrap();
    serde_json::to_writer(&mut file, values).unwrap();
    file.rewind().unwrap();
    let program = ["run", "tests/node/chart.go", "deploy/node/chart"];
    let objects = tool("go", &program, Some(file))?;
    let (config_map, daemonset) =
        objects.strip_prefix("---\n").unwrap().split_once("\n---\n").unwrap();
    let (before, rest) = daemonset.split_once("      annotations:\n").unwrap();
    let (annotation, after) = rest.split_once("    spec:\n").unwrap();
    assert_eq!(annotation.split_whitespace().last().unwrap().len(), 64, "{annotation}");
    Some((config_map.to_owned(), format!("{before}    spec:\n{after}")))
}

const SNAPSHOTS: &str = "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots";

#[test]
fn snapshots_are_mounted_read_only_at_their_own_path_if_that_is_wanted() {
    let mut values = chart_values();
    assert!(text("deploy/node/chart/values.yaml").contains(&format!("# {SNAPSHOTS}\n")));
    let without = rendered(&values);
    assert!(without.is_none_or(|(_, daemonset)| !daemonset.contains("snapshots")));
    values.insert("snapshotsDirectory".into(), SNAPSHOTS.into());
    let lines = [
        format!("            - {{name: snapshots, mountPath: {SNAPSHOTS}, readOnly: true}}\n"),
        format!(
            "        - {{name: snapshots, hostPath: {{path: {SNAPSHOTS}, type: Directory}}}}\n"
        ),
        "              add: [DAC_READ_SEARCH]\n".into(),
    ];
    if let Some((_, daemonset)) = rendered(&values) {
        for line in lines {
            assert_eq!(daemonset.matches(&line).count(), 1, "{line}: {daemonset}");
        }
    }
    // The component of the kustomization says the same.
    let component = text("deploy/node/snapshots/kustomization.yaml");
    let mount = format!("mountPath: {SNAPSHOTS}\n          readOnly: true\n");
    assert!(component.contains(&mount), "{component}");
    assert!(component.contains(&format!("hostPath: {{path: {SNAPSHOTS}, type: Directory}}")));
    let directory = tempfile::tempdir().unwrap();
    for file in ["namespace.yaml", "daemonset.yaml", "node.toml", "snapshots/kustomization.yaml"] {
        fs::create_dir_all(directory.path().join("snapshots")).unwrap();
        let bytes = text(&format!("deploy/node/{file}"));
        fs::write(directory.path().join(file), bytes).unwrap();
    }
    let kustomization = text("deploy/node/kustomization.yaml");
    assert!(kustomization.contains("\n# components: [snapshots]\n"));
    let enabled = kustomization.replace("# components: ", "components: ");
    fs::write(directory.path().join("kustomization.yaml"), enabled).unwrap();
    let place = directory.path().to_str().unwrap();
    if let Some(objects) = tool("kubectl", &["kustomize", place], None) {
        assert_eq!(objects.matches(SNAPSHOTS).count(), 2, "{objects}");
        assert_eq!(objects.matches("DAC_READ_SEARCH").count(), 1, "{objects}");
        assert_eq!(objects.matches("- ALL\n").count(), 1, "{objects}");
    }
}

#[test]
fn the_chart_renders_to_the_objects_of_the_kustomization() {
    let values = chart_values();
    let own = text("deploy/node/node.toml");
    let without_comments: Vec<&str> =
        own.split_inclusive('\n').filter(|line| !line.starts_with('#')).collect();
    let config = without_comments.concat();
    assert_eq!(values["config"], config);
    let image = values["image"].as_str().unwrap();
    let expected = text("deploy/node/daemonset.yaml");
    let expected = expected.replace("image: imgdelta\n", &format!("image: {image}\n"));
    if let Some((config_map, daemonset)) = rendered(&values) {
        assert_eq!(daemonset.replace(" }", "}"), expected);
        assert_eq!(
            block_after(&config_map, "node.toml: |\n", "    ").trim_end(),
            config.trim_end()
        );
        assert!(!config_map.contains("authorities"), "{config_map}");
    }
    let kustomization = text("deploy/node/kustomization.yaml");
    let (name, tag) = image.rsplit_once(':').unwrap();
    assert!(kustomization.contains(&format!("newName: {name}\n    newTag: \"{tag}\"\n")));
}

#[test]
fn the_chart_takes_own_authorities_and_chooses_nodes() {
    let mut values = chart_values();
    let certificate = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
    values.insert("authorities".into(), certificate.into());
    values.insert("nodeSelector".into(), json!({"imgdelta": "true"}));
    values.insert("tolerations".into(), json!([{"operator": "Exists"}]));
    let Some((config_map, daemonset)) = rendered(&values) else { return };
    let found = block_after(&config_map, "authorities.pem: |\n", "    ");
    assert_eq!(found.trim_end(), certificate.trim_end());
    for line in
        ["nodeSelector: {\"imgdelta\":\"true\"}", "tolerations: [{\"operator\":\"Exists\"}]"]
    {
        assert_eq!(daemonset.matches(&format!("      {line}\n")).count(), 1, "{daemonset}");
    }
}

#[test]
fn a_daemonset_that_cleans_the_nodes_takes_the_place_of_the_mirror() {
    let mut values = chart_values();
    values.insert("clean".into(), true.into());
    let chart = rendered(&values).map(|(_, daemonset)| daemonset);
    let kustomization = tool("kubectl", &["kustomize", "deploy/node-clean"], None);
    for objects in chart.into_iter().chain(kustomization) {
        let spaceless = objects.replace([' ', '\n', '"', '-', '[', ','], "");
        assert!(spaceless.contains("args:nodecleanwaitconfig/config/node.toml"), "{objects}");
        assert!(objects.contains("minReadySeconds: 5\n"), "{objects}");
        assert!(!objects.contains("Probe"), "{objects}");
        assert!(objects.contains("name: imgdelta-node\n"), "{objects}");
    }
}

/// Returns the output of a tool; `None` if it is not installed.
fn tool(name: &str, args: &[&str], input: Option<File>) -> Option<String> {
    let mut command = Command::new(name);
    command.args(args).current_dir(top());
    if let Some(input) = input {
        command.stdin(input);
    }
    let Ok(output) = command.output() else {
        eprintln!("skipped: {name} is not installed");
        return None;
    };
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {args:?}: {message}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn kustomize_and_helm_accept_the_files() {
    if let Some(objects) = tool("kubectl", &["kustomize", "deploy/node"], None) {
        for kind in ["kind: Namespace\n", "kind: ConfigMap\n", "kind: DaemonSet\n"] {
            assert_eq!(objects.matches(kind).count(), 1, "{objects}");
        }
        let config = block_after(&objects, "node.toml: |\n", "    ");
        Config::parse(&config, "the ConfigMap").unwrap();
        assert!(objects.contains("image: registry.example:5000/tools/imgdelta:"), "{objects}");
    }
    if let Some(objects) = tool("helm", &["template", "x", "deploy/node/chart"], None) {
        let config = block_after(&objects, "node.toml: |\n", "    ");
        Config::parse(&config, "the ConfigMap of the chart").unwrap();
    }
}

#[test]
fn queried_metrics_of_the_mirror_exist_and_are_documented() {
    let printed = metrics_page();
    assert!(metrics_in(&printed).len() > 12, "{printed}");
    let (rules, dashboard) = ("deploy/node/alerts.yaml", "deploy/node/grafana.json");
    agree_on_metrics(&printed, "docs/node.md", rules, dashboard);
}

/// Checks rules and metrics with Prometheus, where it is installed.
#[test]
fn prometheus_accepts_rules_and_metrics_of_the_mirror() {
    tool("promtool", &["check", "rules", "deploy/node/alerts.yaml"], None);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(metrics_page().as_bytes()).unwrap();
    file.rewind().unwrap();
    tool("promtool", &["check", "metrics"], Some(file));
}

#[test]
fn host_files_are_there_while_the_mirror_serves() {
    let hosts = tempfile::tempdir().unwrap();
    let file = hosts.path().join("r.test/hosts.toml");
    let config = format!(
        "[hosts]\ndirectory = '{}'\n[[registry]]\nhost = 'r.test'\n",
        hosts.path().display()
    );
    let (address, text) = with_mirror(&config, |address| {
        (address.to_owned(), fs::read_to_string(&file).expect("it is written before it listens"))
    });
    assert!(text.contains(&format!("[host.\"http://{address}\"]")), "{text}");
    assert_eq!(fs::read_dir(hosts.path()).unwrap().count(), 0);
}

#[test]
fn every_promise_of_the_page_of_the_mirror_names_an_existing_test() {
    let page = text("docs/node.md");
    let names = page.split('`').filter(|name| {
        name.matches('_').count() > 2 && name.bytes().all(|c| c.is_ascii_lowercase() || c == b'_')
    });
    let metrics = metrics_in(&page);
    let names: Vec<&str> = names.filter(|name| !metrics.contains(*name)).collect();
    assert!(names.len() > 15, "{names:?}");
    let crates = [
        "imgdelta-node",
        "imgdelta-runtimes",
        "imgdelta-registry",
        "imgdelta-commands",
        "imgdelta-cli",
    ];
    are_tests(&names, &crates);
}
