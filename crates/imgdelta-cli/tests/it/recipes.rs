//! The recipes for pipelines, run with bash and make as their services run them, against a registry.
//!
//! Only the name of the registry is replaced; apt-get is a script that checks the package's name.

use crate::program;
use imgdelta_testkit::{
    has,
    registry::{RegistryBehaviour, TestRegistry},
    small_image,
};
use program::{command, prints, top};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A directory in which a pipeline runs, with the program in PATH, and a registry with two images.
struct Pipeline {
    directory: tempfile::TempDir,
    registry: TestRegistry,
}

impl Pipeline {
    fn new() -> Self {
        let registry = TestRegistry::start(RegistryBehaviour::default());
        for (name, tag) in [("old", "stable"), ("new", SHA)] {
            let mut blobs = small_image(name);
            blobs.tag(blobs.roots[0].clone(), tag);
            registry.put_image("app", &blobs);
        }
        let directory = tempfile::tempdir().unwrap();
        let programs = directory.path().join("bin");
        fs::create_dir(&programs).unwrap();
        // Its arguments must be those of the package that this version builds.
        let package = format!("imgdelta_{}_amd64.deb", env!("CARGO_PKG_VERSION"));
        let script = format!("#!/bin/sh\n[ \"$*\" = 'install -y ./{package}' ]\n");
        let apt = programs.join("apt-get");
        fs::write(&apt, script).unwrap();
        fs::set_permissions(&apt, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        fs::create_dir(directory.path().join("work")).unwrap();
        Self { directory, registry }
    }

    fn work(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    fn image(&self, tag: &str) -> String {
        format!("docker://{}/app:{tag}", self.registry.host())
    }

    /// Puts the name of the registry in place of the page's.
    fn with_registry(&self, text: &str) -> String {
        text.replace("registry.example", &self.registry.host())
    }

    /// Runs a program in the directory of the pipeline.
    fn run(&self, program: &str, args: &[&str], variables: &BTreeMap<String, String>) -> Output {
        let built = Path::new(env!("CARGO_BIN_EXE_imgdelta")).parent().unwrap();
        let fake = self.directory.path().join("bin");
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{}:{path}", fake.display(), built.display());
        let mut run = Command::new(program);
        // The environment of a service has no settings of this machine's user.
        for (name, value) in command(&[], self.directory.path()).get_envs() {
            match value {
                Some(value) => run.env(name, value),
                None => run.env_remove(name),
            };
        }
        let run = run.args(args).current_dir(self.work()).env("PATH", path).envs(variables);
        run.output().unwrap()
    }

    fn succeeds(&self, program: &str, args: &[&str], variables: &BTreeMap<String, String>) {
        let output = self.run(program, args, variables);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{program} {args:?}: {said}");
    }

    /// Runs the steps of a composite action or workflow as GitHub does: each in a file, by bash with
    /// these options.
    fn github(&self, steps: &str, inputs: &BTreeMap<String, String>) {
        let summary = self.work().join("summary.md").display().to_string();
        for step in steps.split("\n- ").filter(|step| step.contains("run: |")) {
            let mut variables = mapping(step, "env:");
            for value in variables.values_mut() {
                *value = self.with_registry(&expanded(value, inputs));
            }
            variables.insert("GITHUB_STEP_SUMMARY".into(), summary.clone());
            let script = self.directory.path().join("step.sh");
            fs::write(&script, block(step, "run: |")).unwrap();
            let args = ["--noprofile", "--norc", "-eo", "pipefail", script.to_str().unwrap()];
            self.succeeds("bash", &args, &variables);
        }
    }

    /// Runs a job as GitLab does: variables in variables are expanded, and the lines of both scripts
    /// are one script, which ends at the first failure.
    fn gitlab(&self, job: &str) {
        let mut script = format!("set -eo pipefail\nCI_COMMIT_SHORT_SHA={SHA}\n");
        for (name, value) in mapping(job, "variables:") {
            let value = self.with_registry(&value);
            script.extend(["export ", &name, "=\"", &value, "\"\n"]);
        }
        for key in ["before_script:", "script:"] {
            let lines = list(job, key);
            assert!(!lines.is_empty(), "{key} {job}");
            script += &lines.join("\n");
            script.push('\n');
        }
        self.succeeds("bash", &["-c", &script], &BTreeMap::new());
    }

    /// Asserts that a pipeline has left these files, and forgets them.
    fn has_files(&self, names: &[&str]) {
        for name in names {
            let bytes = fs::metadata(self.work().join(name)).map_or(0, |file| file.len());
            assert!(bytes > 100, "{name} has {bytes} bytes");
        }
        fs::remove_dir_all(self.work()).unwrap();
        fs::create_dir(self.work()).unwrap();
    }

    /// Asserts that both ways are next to the images, and deletes them.
    fn has_deltas(&self) {
        for tag in ["stable", SHA] {
            let image = self.image(tag);
            prints(&["deltas", "delete", &image], self.directory.path());
        }
    }
}

#[test]
fn commands_of_the_page_on_ci_run() {
    let pipeline = Pipeline::new();
    let variables = BTreeMap::from([
        ("OLD".to_owned(), pipeline.image("stable")),
        ("NEW".to_owned(), pipeline.image(SHA)),
    ]);
    let page = page();
    let commands = fences(&page, "sh").flat_map(str::lines);
    let mut count = 0;
    for line in commands {
        pipeline.succeeds("bash", &["-c", line], &variables);
        count += 1;
    }
    assert_eq!(count, 12);
    pipeline.has_deltas();
    pipeline.has_files(&["report.html", "comment.md", "summary.json", "files.ndjson", "made.json"]);
}

#[test]
fn recipes_run_as_their_services_run_them() {
    let pipeline = Pipeline::new();
    let page = page();
    let [gitlab, github]: [&str; 2] = fences(&page, "yaml").collect::<Vec<_>>().try_into().unwrap();

    let jobs: Vec<&str> = gitlab.split("\n\n").collect();
    assert_eq!(jobs.len(), 2);
    for job in jobs {
        pipeline.gitlab(job);
    }
    pipeline.has_deltas();
    pipeline.has_files(&["report.html", "made.json"]);

    // The action with the inputs of the workflow, then the workflow's own steps.
    let action = fs::read_to_string(top().join("deploy/github-action/action.yml")).unwrap();
    let (head, steps) = action.split_once("\nruns:").unwrap();
    let mut inputs = defaults(head);
    inputs.extend(mapping(github, "with:"));
    for value in inputs.values_mut() {
        *value = expanded(value, &BTreeMap::new());
    }
    assert_eq!(inputs["max-delta"], "10MB");
    pipeline.github(steps, &inputs);
    pipeline.github(github, &BTreeMap::new());
    pipeline.has_deltas();
    pipeline.has_files(&["summary.md", "imgdelta.html", "made.json"]);

    if has(&["make"]) {
        let makefile = fences(&page, "make").next().unwrap();
        fs::write(pipeline.work().join("Makefile"), makefile).unwrap();
        let images =
            [format!("OLD={}", pipeline.image("stable")), format!("NEW={}", pipeline.image(SHA))];
        let args = ["image-diff", "image-delta", &images[0], &images[1]];
        pipeline.succeeds("make", &args, &BTreeMap::new());
        pipeline.has_deltas();
    }
}

#[test]
fn a_broken_rule_fails_the_step_of_the_action() {
    let pipeline = Pipeline::new();
    let action = fs::read_to_string(top().join("deploy/github-action/action.yml")).unwrap();
    let script = block(&action, "run: |");
    let (old, new) = (pipeline.image("stable"), pipeline.image(SHA));
    let variables = |most: &str| {
        let values = [
            ("OLD", &*old),
            ("NEW", &new),
            ("PATCH", "/etc/**"),
            ("MAX_DELTA", most),
            ("FAIL_ON", "downgrades"),
            ("PAGE", "x.html"),
            ("GITHUB_STEP_SUMMARY", "x.md"),
        ];
        values.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    };
    let run = |most| pipeline.run("bash", &["-eo", "pipefail", "-c", &script], &variables(most));
    assert_eq!(run("1kB").status.code(), Some(1));
    assert!(pipeline.work().join("x.html").exists(), "the page is there to be looked at");
    // The text of an input is never run.
    assert_eq!(run("$(touch owned)").status.code(), Some(2));
    assert!(!pipeline.work().join("owned").exists());
}

fn page() -> String {
    fs::read_to_string(top().join("docs/ci.md")).unwrap()
}

/// Returns the blocks of a page in this language.
fn fences<'a>(page: &'a str, language: &str) -> impl Iterator<Item = &'a str> {
    let start = format!("```{language}\n");
    let blocks: Vec<&str> = page.split(&start).skip(1).collect();
    blocks.into_iter().map(|rest| rest.split("\n```").next().unwrap())
}

/// Returns the lines below the line with `key` that are indented more.
fn below<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let indent = |line: &str| line.len() - line.trim_start_matches([' ', '-']).len();
    let mut lines = text.lines().skip_while(|line| line.trim().trim_start_matches("- ") != key);
    let Some(first) = lines.next() else { return Vec::new() };
    // Items of a list may stand below the key itself, behind a dash.
    let depth = first.len() - first.trim_start().len();
    lines.take_while(|line| line.trim().is_empty() || indent(line) > depth).collect()
}

/// Returns the items of a list.
fn list(text: &str, key: &str) -> Vec<String> {
    let items = below(text, key).into_iter().map(str::trim);
    items.take_while(|line| line.starts_with("- ")).map(|line| line[2..].to_owned()).collect()
}

/// Returns the names and values of a mapping.
fn mapping(text: &str, key: &str) -> BTreeMap<String, String> {
    let pairs = below(text, key).into_iter().map(str::trim).map_while(|line| line.split_once(": "));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Returns the text of a block without its indentation.
fn block(text: &str, key: &str) -> String {
    let lines = below(text, key);
    assert!(!lines.is_empty(), "{key}: {text}");
    lines.iter().flat_map(|line| [line.trim(), "\n"]).collect()
}

/// Returns the inputs of an action with their defaults.
fn defaults(action: &str) -> BTreeMap<String, String> {
    let mut inputs = BTreeMap::new();
    let mut name = "";
    for line in below(action, "inputs:") {
        if let Some(default) = line.trim().strip_prefix("default: ") {
            inputs.insert(name.to_owned(), default.to_owned());
        } else if line.ends_with(':') {
            name = line.trim().trim_end_matches(':');
        }
    }
    inputs
}

/// Puts values in place of GitHub's expressions.
fn expanded(text: &str, inputs: &BTreeMap<String, String>) -> String {
    let mut text = text.replace("${{ github.sha }}", SHA);
    for (name, value) in inputs {
        text = text.replace(&format!("${{{{ inputs.{name} }}}}"), value);
    }
    assert!(!text.contains("${{"), "{text}");
    text
}

/// Tag of the image that a pipeline has built.
const SHA: &str = "1a2b3c4d";
