//! The program as a user meets it: its output and its exit codes.
//!
//! Golden files are next to the images in testdata; `UPDATE_GOLDEN=1` writes them again.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Runs the program at the top of the tree, without the user's own settings.
fn imgdelta(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_imgdelta"))
        .args(args)
        .current_dir(top())
        .env_remove("IMGDELTA_CACHE")
        .env_remove("NO_COLOR")
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Asserts the exit code and returns the text on standard error.
fn fails(args: &[&str], code: i32) -> String {
    let output = imgdelta(args);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    assert!(output.stdout.is_empty(), "{args:?}: an error prints no result");
    said
}

fn is_golden(found: &str, file: &str) {
    let path = top().join("testdata/small").join(file);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, found).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == golden, "{file} differs; if that is meant, run with UPDATE_GOLDEN=1\n{found}");
}

const OLD: &str = "testdata/small/old";
const NEW: &str = "testdata/small/new";

#[cfg(not(feature = "node"))]
#[test]
fn a_build_without_the_node_says_how_to_open_images_of_engines() {
    for (image, engine) in [
        ("containerd:nginx", "containerd"),
        ("containers-storage:nginx", "storages of podman"),
        ("docker-daemon:nginx", "docker's store"),
        ("rootfs:/srv/root", "root file systems"),
    ] {
        let said = fails(&["diff", image, NEW], 3);
        assert!(said.contains(&format!("{image}: this build does not open {engine}")), "{said}");
        assert!(said.contains("--features node"), "{said}");
    }
}

#[test]
fn the_diff_of_the_small_pair_is_golden() {
    let text = stdout(&imgdelta(&["diff", OLD, NEW]));
    is_golden(&text, "diff.txt");
    is_golden(&stdout(&imgdelta(&["diff", OLD, NEW, "--files"])), "diff-files.txt");
    let json = stdout(&imgdelta(&["diff", OLD, NEW, "--json"]));
    is_golden(&json, "diff.json");
    let document: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(document["schema"], "imgdelta.diff/1");
    let readme = fs::read_to_string(top().join("README.md")).unwrap();
    assert!(readme.contains(text.trim_end()), "README shows another output than the program's");
}

#[test]
fn backwards_is_the_mirror_of_forwards() {
    let read = |a, b| -> serde_json::Value {
        serde_json::from_str(&stdout(&imgdelta(&["diff", a, b, "--json"]))).unwrap()
    };
    let (there, back) = (read(OLD, NEW), read(NEW, OLD));
    assert_eq!(there["summary"]["added"]["files"], back["summary"]["removed"]["files"]);
    assert_eq!(there["summary"]["modified"]["old_bytes"], back["summary"]["modified"]["new_bytes"]);
    assert_eq!(there["summary"]["moved"], back["summary"]["moved"]);
    assert_eq!(there["files"].as_array().unwrap().len(), back["files"].as_array().unwrap().len());
}

#[test]
fn the_exit_code_shows_a_difference() {
    let code = |args: &[&str]| imgdelta(args).status.code();
    assert_eq!(code(&["diff", OLD, NEW]), Some(0));
    assert_eq!(code(&["diff", OLD, NEW, "--exit-code"]), Some(1));
    assert_eq!(code(&["diff", OLD, OLD, "--exit-code"]), Some(0));
    let everything = "mtime,mode,owner,xattrs,links,created,history";
    assert_eq!(code(&["diff", OLD, NEW, "--exit-code", "--ignore", everything]), Some(1));
    let output = imgdelta(&["diff", OLD, OLD]);
    assert!(stdout(&output).contains("The images are identical."));
}

#[test]
fn every_thread_count_prints_the_same() {
    let one = stdout(&imgdelta(&["diff", OLD, NEW, "--json", "--jobs", "1"]));
    assert_eq!(one, stdout(&imgdelta(&["diff", OLD, NEW, "--json", "--jobs", "16"])));
}

#[test]
fn a_warm_cache_prints_the_same_and_reads_no_layer() {
    let scratch = tempfile::tempdir().unwrap();
    let cache = scratch.path().join("cache");
    let old = scratch.path().join("old");
    copy(&top().join(OLD), &old);
    let args = ["diff", old.to_str().unwrap(), NEW, "--json", "--cache", cache.to_str().unwrap()];
    let cold = stdout(&imgdelta(&args));
    // Deleted layers cannot be read: only the index knows their content.
    for blob in fs::read_dir(old.join("blobs/sha256")).unwrap() {
        let path = blob.unwrap().path();
        if fs::read(&path).unwrap().starts_with(&[0x1f, 0x8b]) {
            fs::remove_file(path).unwrap();
        }
    }
    assert!(cold.contains("\"relation\""));
    assert_eq!(cold, stdout(&imgdelta(&args)));
    // A damaged entry is ignored: the layer must be read again, and here it cannot be.
    for entry in fs::read_dir(&cache).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        fs::write(&path, bytes).unwrap();
    }
    fails(&args, 3);
}

#[test]
fn filter_and_sort_choose_and_order_files() {
    let listed = |args: &[&str]| -> Vec<String> {
        let mut all = vec!["diff", OLD, NEW, "--json"];
        all.extend(args);
        let document: serde_json::Value = serde_json::from_str(&stdout(&imgdelta(&all))).unwrap();
        let files = document["files"].as_array().unwrap();
        files.iter().map(|file| file["path"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(listed(&["--filter", "/etc/*"]), ["/etc/shadow"]);
    assert_eq!(listed(&["--filter", "app/**/*.png"]), ["/app/assets/logo.png"]);
    assert_eq!(listed(&["--filter", "/nowhere/**"]), [""; 0]);
    let by_path = stdout(&imgdelta(&["diff", OLD, NEW, "--files", "--sort", "path"]));
    assert!(by_path.find("/app/main.py").unwrap() < by_path.find("/usr/bin/tool").unwrap());
}

#[test]
fn colour_is_for_terminals_and_names_cannot_drive_them() {
    let plain = imgdelta(&["diff", OLD, NEW, "--files"]);
    assert!(!stdout(&plain).contains('\x1b'));
    assert!(stdout(&plain).contains("odd \\x1b[31mname\\n"));
    let coloured = stdout(&imgdelta(&["diff", OLD, NEW, "--files", "--color", "always"]));
    assert!(coloured.contains("\x1b[32m") && !coloured.contains("\x1b[31mname"));
}

#[test]
fn a_reader_that_stops_early_is_not_a_failure() {
    let program = env!("CARGO_BIN_EXE_imgdelta");
    let line =
        format!("'{program}' diff {OLD} {NEW} --files --json | head -c 1; echo ${{PIPESTATUS[0]}}");
    let output = Command::new("bash").args(["-c", &line]).current_dir(top()).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "{0\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn mistakes_have_their_documented_codes() {
    for (args, code, says) in [
        (&["diff", OLD][..], 2, "<NEW>"),
        (&["diff", OLD, NEW, "--ignore", "size"], 2, "choose from mtime"),
        (&["diff", OLD, NEW, "--limit", "layer=1"], 2, "layer-bytes"),
        (&["diff", OLD, NEW, "--platform", "x"], 2, "--platform"),
        (&["diff", OLD, NEW, "--filter", "[a"], 2, "--filter"),
        (&["diff", "oci:testdata/small/old:v9", NEW], 3, "there is old"),
        (&["diff", "README.md", NEW], 3, "README.md"),
        (&["diff", "testdata", NEW], 3, "testdata"),
        (&["diff", "docker://127.0.0.1:1/x:1", NEW], 6, "docker://127.0.0.1:1/x"),
        (&["diff", OLD, NEW, "--ca", "nowhere.pem", "--jobs", "x"], 2, "--jobs"),
        (&["diff", OLD, NEW, "--platform", "linux/s390x"], 3, "linux/amd64"),
        (&["diff", OLD, NEW, "--limit", "layer-bytes=1kB"], 3, "limit of 1000"),
        (&["diff", "oci:nowhere", NEW], 3, "nowhere"),
        (&["diff", "docker-archive:nowhere.tar", NEW], 3, "no such file"),
        (&["diff", "nowhere", NEW], 3, "nowhere"),
    ] {
        let said = fails(args, code);
        assert!(said.contains(says), "{args:?} says {said}");
    }
}

#[test]
fn every_damaged_blob_is_named_with_what_was_expected_and_found() {
    let layout = top().join(OLD);
    for blob in fs::read_dir(layout.join("blobs/sha256")).unwrap() {
        let name = blob.unwrap().file_name();
        for (action, says) in [
            ("flip", "digest is sha256:"),
            ("cut", "size"),
            ("grow", "size"),
            ("remove", "not there"),
        ] {
            let scratch = tempfile::tempdir().unwrap();
            copy(&layout, scratch.path());
            let path = scratch.path().join("blobs/sha256").join(&name);
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            match action {
                "flip" => bytes[middle] ^= 1,
                "cut" => bytes.truncate(middle),
                "grow" => bytes.push(0),
                _ => {}
            }
            fs::write(&path, bytes).unwrap();
            if action == "remove" {
                fs::remove_file(&path).unwrap();
            }
            let code = if action == "remove" { 3 } else { 5 };
            let said = fails(&["diff", scratch.path().to_str().unwrap(), NEW], code);
            assert!(
                said.contains(name.to_str().unwrap()) && said.contains(says),
                "{action}: {said}"
            );
        }
    }
}

#[test]
fn completions_and_manual_are_made_from_the_same_definition() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&imgdelta(&["completions", shell]));
        assert!(script.contains("IMGDELTA_COMPLETE"), "{shell}");
    }
    // The scripts ask the program.
    let completed = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_imgdelta"))
            .args(["--", "imgdelta"])
            .args(words)
            .current_dir(top())
            .env("IMGDELTA_COMPLETE", "fish")
            .output()
            .unwrap();
        stdout(&output)
    };
    assert!(completed(&["diff", "--ex"]).contains("--exit-code"));
    let image = format!("oci:{OLD}:");
    assert!(completed(&["diff", &image]).contains(&format!("oci:{OLD}:old")));
    assert!(completed(&["diff", "--limit", "layer-b"]).contains("layer-bytes="));
    assert!(completed(&["diff", "--ignore", "mtime,m"]).contains("mtime,mode"));
    let page = stdout(&imgdelta(&["man"]));
    assert!(page.starts_with(".ie") || page.contains(".TH imgdelta"));
    assert!(page.contains("exit\\-code") && page.contains("Exit codes"));
}

#[test]
fn every_command_has_a_manual_page_of_its_own() {
    let page = stdout(&imgdelta(&["man", "diff"]));
    assert!(page.contains(".TH imgdelta-diff 1"), "{page}");
    assert!(page.contains("exit\\-code") && !page.contains("no\\-prove"), "{page}");
    assert_eq!(stdout(&imgdelta(&["man", "compare"])), page);
    let said = fails(&["man", "dif"], 2);
    assert!(said.contains("the commands are diff, create"), "{said}");

    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("man1");
    assert_eq!(stdout(&imgdelta(&["man", "--dir", dir.to_str().unwrap()])), "");
    assert_eq!(fs::read_to_string(dir.join("imgdelta-diff.1")).unwrap(), page);
    for command in
        ["imgdelta", "imgdelta-create", "imgdelta-apply", "imgdelta-pull", "imgdelta-job"]
    {
        let page = fs::read_to_string(dir.join(format!("{command}.1"))).unwrap();
        assert!(page.contains(&format!(".TH {command} 1")), "{command}: {page}");
    }
}

#[cfg(not(feature = "job"))]
#[test]
fn a_build_without_the_job_says_so() {
    for args in [&["job"][..], &["job", "run", "--config", "job.toml"], &["job", "serve"]] {
        let said = fails(args, 2);
        assert!(
            said.contains("this build has no job") && said.contains("--features job"),
            "{said}"
        );
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let goal = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy(&item.path(), &goal);
        } else {
            fs::copy(item.path(), &goal).unwrap();
        }
    }
}
