//! Pages in a real browser: they draw, zoom, search, fit every width, load nothing, and stay harmless.
//!
//! Run by `.ci/run browser`, which installs Chromium. Pictures are left in target/browser.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use imgdelta::{
    Reference, Session,
    create::CreateOptions,
    diff::{Diff, DiffOptions, Ignore},
    patch::{PatchOptions, PatchSet},
};
use imgdelta_testkit::{Chromium, Packing, TestImage, gzip, noise, tar_of};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Names and texts that become markup where somebody forgets to escape.
const HOSTILE: [&str; 4] = [
    "</script><script>window.hit=1</script>",
    "\"><img src=x onerror=\"window.hit=1\">",
    "'><svg onload='window.hit=1'>",
    "<!--<script>",
];

fn layout(directory: &Path, layers: Vec<Vec<u8>>) -> Reference {
    TestImage::new(layers, Packing::Gzip).blobs().write_layout(directory);
    format!("oci:{}", directory.display()).parse().unwrap()
}

fn image(version: u8) -> Vec<Vec<u8>> {
    let text = |name: &str| format!("{name}\n{}version {version}\n{name}\n", "line\n".repeat(20));
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for at in 0..80 {
        let mut bytes = noise(at, 3000 + usize::try_from(at).unwrap() * 200);
        bytes[0] ^= version;
        files.push((format!("usr/lib/part{}/file{at}", at % 7), bytes));
    }
    for name in HOSTILE {
        files.push((format!("etc/{}", name.replace('/', "_")), text(name).into_bytes()));
    }
    files.push(("etc/config".to_owned(), text("plain").into_bytes()));
    files.push(("doc.gz".to_owned(), gzip(text(HOSTILE[0]).as_bytes())));
    let package = |name: &str| {
        format!(
            "Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n\n"
        )
    };
    let status = package(HOSTILE[1]) + &package("tool");
    let list = b"/usr/lib/part0/file0\n/usr/lib/part1/file1\n".to_vec();
    files.push(("var/lib/dpkg/info/tool.list".to_owned(), list));
    files.push(("var/lib/dpkg/status".to_owned(), status.into_bytes()));
    let files: Vec<(&str, &[u8])> =
        files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    vec![tar_of(&[("base", &noise(99, 50_000))]), tar_of(&files)]
}

/// The document of an upgrade with patches and cost.
fn upgrade(scratch: &Path) -> Value {
    let session = Session::new(scratch).unwrap();
    let old = layout(&scratch.join("old<img src=x onerror=window.hit=1>"), image(1));
    let new = layout(&scratch.join("new"), image(2));
    let images = session.open_pair(&old, &new).unwrap();
    let pair = session.read_pair(images, &DiffOptions::default()).unwrap();
    let context = session.context();
    let surveys = [pair.base(), pair.target()];
    let diff =
        Diff::between(surveys[0], surveys[1], &Ignore::default(), &*context.progress).unwrap();
    let volumes = [pair.volume()];
    let options = PatchOptions::default();
    let patches = PatchSet::between(&diff, surveys, &volumes, &|_| true, options, context).unwrap();
    let mut document = diff.json();
    patches.add_to(&mut document);
    let cost = |pair: &imgdelta::create::ImagePair| {
        pair.plan(&CreateOptions::default()).unwrap().encode().unwrap().cost().unwrap().json()
    };
    document["cost"] = cost(&pair);
    document["rollback_cost"] = cost(&pair.reversed());
    document["notes"] = json!([{ "side": "old", "text": HOSTILE[2] }]);
    document
}

fn history() -> Value {
    let version = |tag: &str| {
        json!({ "tag": tag, "tags": [tag], "digest": "sha256:00",
        "created": HOSTILE[0], "bytes": 1000, "layers": 1, "change": null,
        "deltas": [{ "digest": "sha256:00", "base": HOSTILE[1], "from": null, "bytes": 9 }] })
    };
    json!({ "repository": HOSTILE[1], "omitted_tags": 0, "notes": [{ "text": HOSTILE[2] }],
        "versions": [version(HOSTILE[0]), version("1.0")],
        "ways": [{ "from": "1.0", "to": HOSTILE[0], "pull_bytes": 1000, "delta_bytes": 9 }] })
}

fn pictures() -> PathBuf {
    let directory = imgdelta_tests::top().join("target/browser");
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// Opens a page at three widths, light and dark; it must fit, stay silent and load nothing.
fn looks_well(browser: &mut Chromium, page: &Path, name: &str) {
    for (width, is_dark) in [(360, false), (768, true), (1280, false), (1280, true)] {
        browser.look(width, is_dark);
        browser.open(page);
        let overflow = browser.evaluate("document.documentElement.scrollWidth - innerWidth");
        assert!(overflow.as_i64().unwrap() <= 0, "{name} at {width}: {overflow} too wide");
        let picture = STANDARD.decode(browser.screenshot()).unwrap();
        assert!(picture.starts_with(b"\x89PNG") && picture.len() > 5000, "{name} at {width}");
        let scheme = if is_dark { "dark" } else { "light" };
        fs::write(pictures().join(format!("{name}-{width}-{scheme}.png")), picture).unwrap();
    }
    let own = page.file_name().unwrap().to_str().unwrap();
    assert!(browser.requests.iter().all(|url| url.contains(own)), "{:?}", browser.requests);
    assert_eq!(browser.errors, [""; 0]);
    assert_eq!(browser.evaluate("window.hit"), Value::Null);
    assert_eq!(browser.evaluate("document.images.length + document.links.length"), 0);
    assert_eq!(browser.evaluate("document.scripts.length"), 2);
}

#[test]
#[ignore = "needs Chromium: .ci/run browser"]
fn pages_draw_and_search_and_load_nothing_whatever_an_image_contains() {
    let scratch = tempfile::tempdir().unwrap();
    let page = scratch.path().join("page.html");
    fs::write(&page, imgdelta_report::upgrade_page(&upgrade(scratch.path()))).unwrap();
    let mut browser = Chromium::start();
    looks_well(&mut browser, &page, "upgrade");

    // The picture: views, zoom, the way back.
    let tiles = "document.querySelectorAll('#map rect').length";
    assert!(browser.evaluate(tiles).as_u64().unwrap() > 80);
    let total = browser.evaluate("document.getElementById('trail').textContent");
    assert!(total.as_str().unwrap().starts_with("everything "), "{total}");
    browser.click("[data-view=directories]");
    let pressed = "document.querySelector('[aria-pressed=true]').dataset.view";
    assert_eq!(browser.evaluate(pressed), "directories");
    browser.click("#map g[role=button] > text");
    let place = "[...document.querySelectorAll('#trail button')].map(b => b.textContent)";
    assert_eq!(browser.evaluate(place)[0], "everything");
    browser.click("#trail button");
    assert_eq!(browser.evaluate(place), json!([]));
    browser.click("[data-view=packages]");
    assert_eq!(browser.evaluate(pressed), "packages");

    // Search dims other tiles and hides other rows.
    browser.click("[data-view=directories]");
    let visible = "[...document.querySelectorAll('.file:not([hidden])')].length";
    assert_eq!(browser.evaluate(visible), 60, "the first rows");
    browser.click("#more");
    assert!(browser.evaluate(visible).as_u64().unwrap() > 80);
    browser.click("#find");
    browser.type_text("part3/FILE3");
    let rows = browser.evaluate(visible).as_u64().unwrap();
    assert!((1..20).contains(&rows), "{rows} rows");
    assert_eq!(
        browser.evaluate("document.getElementById('found').textContent"),
        format!("{rows} files")
    );
    assert!(
        browser.evaluate("document.querySelectorAll('#map .dim').length").as_u64().unwrap() > 50
    );
    browser.evaluate("document.getElementById('find').value = ''");
    browser.click("#find");
    browser.type_text("etc/config");
    browser.click(".file:not([hidden]) summary");
    let patch = browser.evaluate("document.querySelector('details[open] .patch').textContent");
    assert!(patch.as_str().unwrap().contains("-version 1\n+version 2\n"), "{patch}");
    assert_eq!(browser.errors, [""; 0]);

    // The policy stops what escaping would let through.
    browser.evaluate(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.hit = 1'; \
         document.body.append(s); })()",
    );
    assert_eq!(browser.evaluate("window.hit"), Value::Null);
    assert!(browser.errors.iter().any(|error| error.contains("Content Security Policy")));
}

#[test]
#[ignore = "needs Chromium: .ci/run browser"]
fn the_matrix_of_a_repository_draws_and_loads_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let page = scratch.path().join("page.html");
    fs::write(&page, imgdelta_report::history_page(&history())).unwrap();
    let mut browser = Chromium::start();
    looks_well(&mut browser, &page, "history");
    assert_eq!(browser.evaluate("document.querySelectorAll('.matrix td.delta').length"), 1);
}

/// The document of a job with tasks in every state.
fn job() -> Value {
    let task = |id: usize, state: &str| {
        json!({ "id": format!("{id:012x}"), "repository": if id == 1 { HOSTILE[1] } else { "team/web/frontend" },
            "base_tag": format!("v1.{id}"), "target_tag": "v1.10", "platform": "linux/amd64",
            "state": state, "tries": id, "worker": "imgdelta-job-7d9c5b6f4-x2x8k/1", "urgency": "scanned",
            "added_ms": 1_780_000_000_000_u64, "changed_ms": 1_780_000_060_000_u64 })
    };
    let failed = |id: usize, reason: &str, error: &str| {
        let mut task = task(id, "failed");
        task["reason"] = reason.into();
        task["error"] = error.into();
        task
    };
    let done = |id: usize| {
        let mut task = task(id, "done");
        task["outcome"] = "published".into();
        task["delta_bytes"] = (90_000 * id).into();
        task["pull_bytes"] = 31_700_000.into();
        task
    };
    let days = (0..30_u64).map(|day| {
        json!({ "day": format!("2026-11-{:02}", day + 1), "published": day % 7,
            "delta_bytes": 1000, "saved_bytes": (day % 7) * (day + 3) * 12_000_000 })
    });
    json!({
        "registry": "registry.example:5000", "queue": "queue", "now_ms": 1_780_000_300_000_u64,
        "tasks": { "waiting": 12, "running": 2, "done": 340, "failed": 2 },
        "oldest_waiting_seconds": 200,
        "paused": { "who": "ops at host", "reason": HOSTILE[0], "since_ms": 1_780_000_000_000_u64 },
        "failures": [{ "reason": "unreachable", "tasks": 1 }, { "reason": "over-limit", "tasks": 1 }],
        "lists": {
            "failed": [failed(1, "unreachable", HOSTILE[2]),
                failed(2, "over-limit", "team/web/frontend: v1.2 to v1.10 for linux/amd64, disk in [budget]: \
                    size of temporary files in bytes is 60000000000, above the limit of 20000000000")],
            "running": [task(3, "running"), task(4, "running")],
            "waiting": [task(5, "waiting"), task(6, "waiting")],
            "done": [done(7), done(8), done(9)],
        },
        "days": days.collect::<Vec<_>>(),
    })
}

#[test]
#[ignore = "needs Chromium: .ci/run browser"]
fn the_page_of_a_job_draws_and_loads_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let page = scratch.path().join("page.html");
    fs::write(&page, imgdelta_report::job_page(&job())).unwrap();
    let mut browser = Chromium::start();
    looks_well(&mut browser, &page, "job");
    assert_eq!(browser.evaluate("document.querySelectorAll('.days rect').length"), 30);
    assert_eq!(browser.evaluate("document.querySelectorAll('#failed tbody tr').length"), 2);
    // A bar has the height of its day.
    let tallest = "Math.max(...[...document.querySelectorAll('.days rect')].map(bar => bar.height.baseVal.value))";
    assert_eq!(browser.evaluate(tallest), 100);
}
