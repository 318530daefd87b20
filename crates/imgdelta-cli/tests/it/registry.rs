//! Registries as a user meets them: push, pull, `docker://` everywhere, exit codes, hints, no secrets.

use crate::program;
use imgdelta_testkit::{
    assert_valid,
    registry::{RegistryAuth, RegistryBehaviour, RegistryFault},
    small_registry,
};
use program::{DELTA, NEW, OLD, command, fails, json, prints, said, top};
use serde_json::Value;
use std::{fs, io::Write, process::Stdio};

#[test]
fn a_delta_is_pushed_and_an_image_is_pulled_by_it() {
    let home = tempfile::tempdir().unwrap();
    let registry = small_registry(RegistryBehaviour::default());
    let image = format!("docker://{}/x/app:new", registry.host());
    let pushed = json(&["push", DELTA, &image, "--json"], home.path());
    assert_eq!(pushed["schema"], "imgdelta.push/1");
    assert_eq!(pushed["parts"].as_array().unwrap().len(), 3, "a front and two recipes");
    let again = prints(&["push", DELTA, &image], home.path());
    assert!(again.contains("sent    0 bytes in 0 of 3 parts"), "{again}");

    let place = format!("oci:{}/out:new", home.path().display());
    let pull = ["pull", &image, "--base", OLD, "-o", &place, "--no-time-limit"];
    let planned = json(&[&pull[..], &["--dry-run", "--json"]].concat(), home.path());
    assert_eq!(
        (&planned["schema"], &planned["received_bytes"]),
        (&"imgdelta.pull/1".into(), &Value::Null)
    );
    registry.forget();
    let output = command(&pull, home.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("a plain pull is"), "{}", said(&output));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("fetched ") && shown.contains("; a plain pull is"), "{shown}");
    let diff = json(&["diff", &place, NEW, "--json"], home.path());
    assert_eq!(diff["same_image"], true);
    let pulled = json(&[&pull[..], &["--json"]].concat(), home.path());
    let layers = pulled["layers"].as_array().unwrap();
    assert!(layers.iter().all(|layer| layer["way"] == "there"), "{pulled}");
}

#[test]
fn rollback_refuses_a_newer_image() {
    let home = tempfile::tempdir().unwrap();
    let registry = small_registry(RegistryBehaviour::default());
    let pull = |tag: &str, base: &str| {
        let image = format!("docker://{}/x/app:{tag}", registry.host());
        let place = format!("oci:{}/{tag}", home.path().display());
        let args = ["pull", &image, "--base", base, "-o", &place, "--rollback", "--no-time-limit"];
        let output = command(&args, home.path()).output().unwrap();
        (output.status.code().unwrap(), said(&output))
    };
    let (code, text) = pull("new", OLD);
    assert_eq!(code, 3, "{text}");
    let dates = ["made 2024-03-09T16:00:00Z", "2023-11-14T22:13:20Z"];
    assert!(dates.iter().all(|date| text.contains(date)), "{text}");
    assert!(!home.path().join("new").exists());
    let (code, text) = pull("old", NEW);
    assert_eq!(code, 0, "{text}");
}

#[test]
fn a_delta_is_pushed_from_a_pipe() {
    let home = tempfile::tempdir().unwrap();
    let push = |image: &str, delta: &[u8]| {
        let mut child = command(&["push", "-", image, "--json"], home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(delta).unwrap();
        child.wait_with_output().unwrap()
    };
    let bytes = fs::read(top().join(DELTA)).unwrap();
    let registry = small_registry(RegistryBehaviour::default());
    let image = format!("docker://{}/x/app:new", registry.host());
    let output = push(&image, &bytes);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let pushed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(pushed["parts"].as_array().unwrap().len(), 3);
    // The file gives the same artifact.
    let again = json(&["push", DELTA, &image, "--json"], home.path());
    assert_eq!((&again["sent_bytes"], &again["artifact"]), (&0.into(), &pushed["artifact"]));
    let place = format!("oci:{}/out:new", home.path().display());
    let pulled = json(
        &["pull", &image, "--base", OLD, "-o", &place, "--json", "--no-time-limit"],
        home.path(),
    );
    assert_eq!(pulled["deltas"][0]["artifact"], pushed["artifact"]);
    assert_eq!(json(&["diff", &place, NEW, "--json"], home.path())["same_image"], true);

    let output = push(&image, &bytes[..bytes.len() - 9]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("standard input"), "{}", said(&output));
}

#[test]
fn every_command_reads_images_from_registries() {
    let home = tempfile::tempdir().unwrap();
    let registry = small_registry(RegistryBehaviour::default());
    let [old, new] = ["old", "new"].map(|tag| format!("docker://{}/x/app:{tag}", registry.host()));
    let here = json(&["diff", OLD, NEW, "--json"], home.path());
    let there = json(&["diff", &old, &new, "--json"], home.path());
    assert_eq!(here["files"], there["files"]);
    assert_eq!(here["summary"], there["summary"]);
    let delta = home.path().join("up").display().to_string();
    prints(&["create", &old, &new, "-o", &delta], home.path());
    prints(&["verify", &delta, "--base", &old], home.path());
    let place = format!("oci:{}/out", home.path().display());
    prints(&["apply", &delta, "--base", &old, "-o", &place], home.path());
    assert_eq!(json(&["diff", &place, &new, "--json"], home.path())["same_image"], true);
}

#[test]
fn mistakes_have_their_exit_codes_and_say_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let registry = small_registry(RegistryBehaviour::default());
    let host = registry.host();
    let place = format!("oci:{}/out", home.path().display());
    let pull = |image: &str, code| fails(&["pull", image, "-o", &place], home.path(), code);
    let text = pull(&format!("docker://{host}/x/app:v9"), 3);
    assert!(text.contains("tag \"v9\" is not there; there is new, old"), "{text}");
    assert!(text.contains("docker://HOST/REPO:TAG"), "{text}");
    let text = pull(&format!("docker://{host}/none:v9"), 3);
    assert!(text.contains("whether it was pushed there"), "{text}");
    let text = pull(OLD, 2);
    assert!(text.contains("not in a registry"), "{text}");
    let text = fails(&["push", DELTA, &format!("docker://{host}/x/app:old")], home.path(), 3);
    assert!(text.contains("push to the tag of its target"), "{text}");
    let text = fails(&["push", DELTA, &format!("docker://{host}/none")], home.path(), 3);
    assert!(text.contains("push the new image to this repository first"), "{text}");

    registry.fault("GET", "/blobs/", 99, RegistryFault::WrongByte);
    pull(&format!("docker://{host}/x/app:new"), 5);
    registry.forget();
    registry.fault("GET", "/manifests/", 99, RegistryFault::Status(400, Vec::new()));
    let text = pull(&format!("docker://{host}/x/app:new"), 6);
    assert!(text.contains("refused (status 400): FAULT"), "{text}");
    drop(registry);
    let text = pull(&format!("docker://{host}/x/app:new"), 6);
    assert!(text.contains("--plain-http"), "{text}");
}

#[test]
fn logins_come_from_auth_files_and_helpers_and_are_never_shown() {
    let home = tempfile::tempdir().unwrap();
    let user = ("me".to_owned(), "hunter2".to_owned());
    for auth in [
        RegistryAuth::Basic { user: user.0.clone(), password: user.1.clone() },
        RegistryAuth::Bearer { user: Some(user.clone()), uses: 2 },
    ] {
        let registry = small_registry(RegistryBehaviour { auth, ..RegistryBehaviour::default() });
        let host = registry.host();
        let image = format!("docker://{host}/x/app:new");
        let text = fails(&["diff", OLD, &image], home.path(), 6);
        assert!(text.contains("login required") && text.contains("hint: log in"), "{text}");

        // bWU6aHVudGVyMg== is me:hunter2.
        let file = home.path().join("auth.json");
        let entry = format!(r#"{{"auths":{{"{host}/x":{{"auth":"bWU6aHVudGVyMg=="}}}}}}"#);
        fs::write(&file, entry).unwrap();
        let file = file.display().to_string();
        prints(&["diff", OLD, &image, "--authfile", &file], home.path());

        let programs = home.path().join("bin");
        fs::create_dir_all(&programs).unwrap();
        let helper = programs.join("docker-credential-test");
        let script = format!(
            "#!/bin/sh\nread server\n[ \"$server\" = {host} ] || exit 1\n\
             echo '{{\"ServerURL\":\"x\",\"Username\":\"me\",\"Secret\":\"hunter2\"}}'\n"
        );
        fs::write(&helper, script).unwrap();
        fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        fs::create_dir_all(home.path().join(".docker")).unwrap();
        let config = format!(r#"{{"credHelpers":{{"{host}":"test"}}}}"#);
        fs::write(home.path().join(".docker/config.json"), config).unwrap();
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
        let mut command = command(&["diff", OLD, &image], home.path());
        let output = command.env("PATH", path).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        fs::remove_file(home.path().join(".docker/config.json")).unwrap();

        // swordfish: another password.
        let wrong = home.path().join("wrong.json");
        fs::write(&wrong, format!(r#"{{"auths":{{"{host}":{{"auth":"bWU6c3dvcmRmaXNo"}}}}}}"#))
            .unwrap();
        let wrong = wrong.display().to_string();
        let text = fails(&["diff", OLD, &image, "--authfile", &wrong], home.path(), 6);
        assert!(!text.contains("swordfish") && !text.contains("bWU6"), "{text}");
    }
}

#[test]
fn requests_go_through_a_proxy() {
    let home = tempfile::tempdir().unwrap();
    let registry = small_registry(RegistryBehaviour::default());
    let args = ["diff", OLD, "docker://registry.example/x/app:new", "--plain-http"];
    let mut command = command(&args, home.path());
    let output = command.env("HTTP_PROXY", format!("http://{}", registry.host())).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let seen = registry.requests();
    assert!(!seen.is_empty() && seen.iter().all(|seen| seen.headers["host"] == "registry.example"));
}

#[test]
fn frames_are_published_next_to_an_image() {
    let home = tempfile::tempdir().unwrap();
    let registry = small_registry(RegistryBehaviour::without_referrers());
    let image = format!("docker://{}/x/app:old", registry.host());
    let first = json(&["frames", &image, "--json"], home.path());
    assert_valid(&first, "frames");
    let bytes = first["bytes"].as_u64().unwrap();
    assert!(bytes > 0 && first["sent_bytes"] == bytes, "{first}");
    assert_eq!((&first["layers"], &first["layers_without_frames"]), (&4.into(), &0.into()));
    let artifact = registry.get("x/app", first["artifact"].as_str().unwrap()).unwrap();
    let artifact: Value = serde_json::from_slice(&artifact).unwrap();
    assert_eq!(artifact["artifactType"], "application/vnd.imgdelta.frames.v1");
    assert_eq!(artifact["subject"]["digest"], first["image"]);
    let again = prints(&["frames", &image], home.path());
    assert!(again.contains("sent    0 "), "{again}");
    let error = fails(&["frames", OLD], home.path(), 2);
    assert!(error.contains("expected docker://HOST[:PORT]/REPO[:TAG]"), "{error}");
}
