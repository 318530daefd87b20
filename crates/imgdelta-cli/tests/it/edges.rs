//! Inputs and outputs at the edges: compressed archives, pipes, registries as destinations, terminals.

use crate::program;
use imgdelta_testkit::{
    assert_valid, registry::RegistryBehaviour, sha256, small_registry, wait_until,
};
use program::{DELTA, NEW, OLD, command, json, prints, said, top};
use serde_json::Value;
use std::{
    fs,
    io::Write as _,
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

fn digest_of(image: &str, home: &Path) -> Value {
    json(&["diff", image, image, "--json"], home)["new"]["digest"].clone()
}

#[test]
fn compressed_archives_and_standard_input_are_images() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name).display().to_string();
    let archive = at("new.tar");
    prints(&["apply", DELTA, "--base", OLD, "-o", &format!("oci-archive:{archive}")], home.path());
    let expected = digest_of(NEW, home.path());
    for program in ["gzip", "zstd"] {
        let packed = Command::new(program).args(["-kfq", &archive]).status();
        if !packed.is_ok_and(|status| status.success()) {
            assert!(std::env::var_os("CI").is_none(), "{program} is not installed");
            continue;
        }
        let end = if program == "gzip" { "gz" } else { "zst" };
        for image in [format!("{archive}.{end}"), format!("oci-archive:{archive}.{end}")] {
            assert_eq!(digest_of(&image, home.path()), expected, "{image}");
        }
    }
    for image in ["-", "oci-archive:-"] {
        let mut child = command(&["diff", OLD, image, "--json"], home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&fs::read(&archive).unwrap()).unwrap();
        let output = child.wait_with_output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["new"]["digest"], expected, "{image}");
    }
}

#[test]
fn apply_and_pull_write_into_a_registry() {
    let home = tempfile::tempdir().unwrap();
    let registry = small_registry(RegistryBehaviour::default());
    let expected = digest_of(NEW, home.path());
    let there = |name: &str| format!("docker://{}/{name}", registry.host());
    let applied = there("y/applied:1");
    prints(&["apply", "--base", OLD, DELTA, "-o", &applied], home.path());
    assert_eq!(digest_of(&applied, home.path()), expected);
    let pulled = there("y/pulled:1");
    let digestfile = home.path().join("digest");
    let args = ["pull", &there("x/app:new"), "-o", &pulled, "--print-digest", "--digestfile"];
    let args = [&args[..], &[digestfile.to_str().unwrap()]].concat();
    assert_eq!(prints(&args, home.path()).trim(), expected.as_str().unwrap());
    assert_eq!(fs::read_to_string(digestfile).unwrap(), expected.as_str().unwrap());
    assert_eq!(digest_of(&pulled, home.path()), expected);
}

#[test]
fn deltas_are_listed_inspected_fetched_and_deleted() {
    let home = tempfile::tempdir().unwrap();
    let registry = small_registry(RegistryBehaviour::default());
    let image = format!("docker://{}/x/app:new", registry.host());
    let list = || -> Value {
        let document = json(&["deltas", "list", &image, "--json"], home.path());
        assert_valid(&document, "deltas");
        document
    };
    assert_eq!(list()["deltas"], serde_json::json!([]));
    let pushed = prints(&["push", DELTA, &image, "--print-digest"], home.path());
    let document = list();
    assert_eq!(document["schema"], "imgdelta.deltas/1");
    let delta = &document["deltas"][0];
    assert_eq!(delta["digest"], pushed.trim());
    assert_eq!(delta["old_tags"], serde_json::json!(["old"]));
    assert_eq!(delta["pull_bytes"], 7213);
    let text = prints(&["deltas", "list", &image], home.path());
    assert!(text.contains("old (a907ec2d460f)") && text.contains("7,213"), "{text}");

    let file = home.path().join("fetched.imgdelta").display().to_string();
    prints(&["deltas", "fetch", &image, "-o", &file], home.path());
    assert_eq!(fs::read(&file).unwrap(), fs::read(top().join(DELTA)).unwrap());
    let inspected = prints(&["deltas", "inspect", &image], home.path());
    assert_eq!(inspected, prints(&["inspect", DELTA], home.path()));

    let wrong = command(&["deltas", "delete", &image, "ffff"], home.path()).output().unwrap();
    assert_eq!(wrong.status.code(), Some(3), "{}", said(&wrong));
    let digits = &pushed["sha256:".len()..][..6];
    prints(&["deltas", "delete", &image, digits], home.path());
    assert_eq!(list()["deltas"], serde_json::json!([]));
    assert_eq!(digest_of(&image, home.path()), digest_of(NEW, home.path()));
}

#[test]
fn the_list_says_who_pushed_a_delta_and_which_signatures_lie_next_to_it() {
    let home = tempfile::tempdir().unwrap();
    for behaviour in [RegistryBehaviour::default(), RegistryBehaviour::without_referrers()] {
        let lists_referrers = behaviour.lists_referrers;
        let registry = small_registry(behaviour);
        let image = format!("docker://{}/x/app:new", registry.host());
        let list = || json(&["deltas", "list", &image, "--json"], home.path())["deltas"][0].take();
        let text = || prints(&["deltas", "list", &image], home.path());
        let pushed = prints(&["push", DELTA, &image, "--print-digest"], home.path());
        let pushed = pushed.trim();
        let program = concat!("imgdelta ", env!("CARGO_PKG_VERSION"));
        let delta = list();
        assert_eq!(
            (&delta["creator"], &delta["signatures"]),
            (&program.into(), &serde_json::json!([]))
        );
        let shown = text();
        assert!(shown.contains(program) && !shown.contains("signature"), "{shown}");

        // A tag of cosign, and an artifact of notation that refers to the delta.
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let bytes = registry.get("x/app", pushed).unwrap();
        let tag = format!("{}.sig", pushed.replace(':', "-"));
        registry.put_manifest("x/app", Some(&tag), kind, b"{}");
        assert_eq!(list()["signatures"], serde_json::json!(["cosign"]));
        assert!(text().contains("cosign"));
        if lists_referrers {
            let signature = serde_json::json!({
                "schemaVersion": 2,
                "mediaType": kind,
                "artifactType": "application/vnd.cncf.notary.signature",
                "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": sha256(b"{}"), "size": 2 },
                "layers": [],
                "subject": { "mediaType": kind, "digest": pushed, "size": bytes.len() },
            });
            registry.put_manifest("x/app", None, kind, signature.to_string().as_bytes());
            assert_eq!(list()["signatures"], serde_json::json!(["cosign", "notation"]));
        }

        // A delta of an older version has no such annotation; text of a stranger stays text.
        for (annotation, creator, shown) in
            [(None, Value::Null, "unknown"), (Some("\u{1b}[31m"), r"\x1b[31m".into(), r"\x1b[31m")]
        {
            if !lists_referrers {
                break;
            }
            let mut document: Value = serde_json::from_slice(&bytes).unwrap();
            let annotations = document["annotations"].as_object_mut().unwrap();
            annotations.remove("org.imgdelta.creator");
            annotations.extend(annotation.map(|text| ("org.imgdelta.creator".into(), text.into())));
            prints(&["deltas", "delete", &image], home.path());
            registry.put_manifest("x/app", None, kind, document.to_string().as_bytes());
            assert_eq!(list()["creator"], creator);
            assert!(text().contains(shown), "{}", text());
            // The same delta is not stored again.
            let again = prints(&["push", DELTA, &image, "--print-digest"], home.path());
            assert_eq!(list()["digest"], again.trim());
            let all = json(&["deltas", "list", &image, "--json"], home.path());
            assert_eq!(all["deltas"].as_array().unwrap().len(), 1);
        }
    }
}

#[test]
fn a_silent_registry_is_reported_and_the_first_signal_ends_the_command() {
    let home = tempfile::tempdir().unwrap();
    // Accepts connections in its queue, and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let image = format!("docker://{}/x:1", listener.local_addr().unwrap());
    let log = home.path().join("log");
    for args in
        [&["diff", OLD, &image][..], &["push", DELTA, &image], &["pull", &image, "-o", "oci:/x"]]
    {
        let errors = fs::File::create(&log).unwrap();
        let mut child =
            command(args, home.path()).stdout(Stdio::null()).stderr(errors).spawn().unwrap();
        let text = || fs::read_to_string(&log).unwrap();
        wait_until("a report", Duration::from_secs(60), || text().contains("no answer for"));
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        // One signal is enough; a second one is never sent.
        assert_eq!(child.wait().unwrap().code(), Some(130), "{args:?}: {}", text());
        assert!(text().contains("interrupted"), "{args:?}: {}", text());
    }
}

#[test]
fn results_fit_the_terminal() {
    let home = tempfile::tempdir().unwrap();
    let longest = |args: &[&str], width: &str| {
        let output = command(args, home.path()).env("COLUMNS", width).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| line.chars().count()).max().unwrap()
    };
    for width in ["80", "120"] {
        let columns: usize = width.parse().unwrap();
        for args in [
            &["diff", OLD, NEW][..],
            &["diff", OLD, NEW, "--cost"],
            &["create", OLD, NEW, "--dry-run"],
            &["inspect", DELTA],
            &["--help"],
            &["diff", "--help"],
            &["create", "-h"],
            &["pull", "--help"],
        ] {
            let found = longest(args, width);
            assert!(found <= columns, "{args:?} has {found} columns at {width}");
        }
    }
    assert!(longest(&["diff", OLD, NEW], "200") > 100, "a wide terminal shows all columns");
}

#[test]
fn the_short_help_is_shorter_and_the_long_one_has_examples() {
    let home = tempfile::tempdir().unwrap();
    for name in ["diff", "create", "apply", "verify", "inspect", "push", "pull", "deltas"] {
        let (short, long) =
            (prints(&[name, "-h"], home.path()), prints(&[name, "--help"], home.path()));
        assert!(short.lines().count() < long.lines().count(), "{name}");
        assert!(long.matches("\n  imgdelta ").count() >= 2, "{name}: {long}");
        assert!(long.find("Common options").is_none_or(|at| at > long.find("Options:").unwrap()));
    }
    let version = prints(&["--version"], home.path());
    assert!(version.contains("commit ") && version.contains("delta format  1.0"), "{version}");
    assert!(version.contains("features ") && prints(&["-V"], home.path()).lines().count() == 1);
}

#[test]
fn a_number_of_threads_that_no_machine_has_is_cut_with_a_note() {
    let home = tempfile::tempdir().unwrap();
    let output = command(&["diff", OLD, NEW, "--jobs", "100000"], home.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(said(&output).contains("--jobs 100000 is more than this machine can use"));
}

#[test]
fn a_filter_that_matches_nothing_says_so_and_documents_name_it() {
    let home = tempfile::tempdir().unwrap();
    let args = ["diff", OLD, NEW, "--filter", "/ect/**"];
    let output = command(&args, home.path()).output().unwrap();
    assert!(said(&output).contains("--filter matches none of"), "{}", said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("no changed file matches --filter"), "{text}");
    let document = json(&[&args[..], &["--json"]].concat(), home.path());
    assert_eq!(document["filter"], serde_json::json!(["/ect/**"]));
}

#[test]
fn a_cache_that_cannot_be_written_costs_nothing_but_time() {
    let home = tempfile::tempdir().unwrap();
    let mut plain = json(&["diff", OLD, NEW, "--json"], home.path());
    for place in ["/proc/nothing", "Cargo.toml"] {
        let mut document = json(&["diff", OLD, NEW, "--json", "--cache", place], home.path());
        let notes = document["notes"].take().to_string();
        assert!(notes.contains("cache: not written") || notes.contains("unusable"), "{notes}");
        plain["notes"].take();
        assert_eq!(document, plain, "{place}");
    }
}

#[test]
fn paths_of_costs_are_those_of_files() {
    let home = tempfile::tempdir().unwrap();
    let document = json(&["diff", OLD, NEW, "--json", "--cost"], home.path());
    let files = document["cost"]["files"].as_array().unwrap();
    assert!(!files.is_empty());
    assert!(files.iter().all(|file| file["path"].as_str().unwrap().starts_with('/')), "{files:?}");
}

#[test]
fn a_closed_standard_error_loses_no_result() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("up.imgdelta");
    let program = env!("CARGO_BIN_EXE_imgdelta");
    for redirection in ["2>&-", "2>/dev/full"] {
        let line = format!(
            "'{program}' create {OLD} {NEW} -o '{}' --jobs 100000 {redirection}",
            out.display()
        );
        let status = Command::new("bash").args(["-c", &line]).current_dir(top()).status().unwrap();
        assert!(status.success(), "{redirection}");
        assert!(fs::metadata(&out).unwrap().len() > 0);
        fs::remove_file(&out).unwrap();
    }
}

#[test]
fn verbose_shows_decisions_and_requests_and_quiet_neither() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("up.imgdelta").display().to_string();
    let run = |args: &[&str]| said(&command(args, home.path()).output().unwrap());
    let text = run(&["create", OLD, NEW, "-o", &out, "--verbose"]);
    assert!(text.contains("layer 1: in the old image") && text.contains("layer 2: rebuilt"));
    let registry = small_registry(RegistryBehaviour::default());
    let image = format!("docker://{}/x/app:new", registry.host());
    let text = run(&["diff", OLD, &image, "-v"]);
    assert!(text.contains("GET docker://") && text.contains("manifest new: status 200"), "{text}");
    assert_eq!(run(&["diff", OLD, &image]), "");
    assert_eq!(run(&["diff", OLD, &image, "--quiet"]), "");
}

#[test]
fn a_destination_of_apply_and_pull_is_checked_first() {
    let home = tempfile::tempdir().unwrap();
    for args in [
        &["apply", "no-such-delta", "--base", OLD, "-o", "oci-archive:/no/such/x.tar"][..],
        &["pull", "docker://127.0.0.1:1/x:1", "-o", "docker-archive:/no/such/x.tar"],
    ] {
        let output = command(args, home.path()).output().unwrap();
        let text = said(&output);
        assert_eq!(output.status.code(), Some(6), "{text}");
        assert!(text.contains("/no/such") && text.matches("/no/such").count() == 1, "{text}");
    }
}
