//! Pages of hostile and of odd documents.

use imgdelta_report::{history_page, upgrade_markdown, upgrade_page};
use serde_json::{Value, json};

const HOSTILE: &str =
    "</script></style></pre><script>hit()</script><img src=x onerror=hit()>\"'`|@a";

/// A document in which every text that an image may choose is hostile.
fn upgrade() -> Value {
    let file = json!({ "type": "file", "size": 3000, "layer": 0, "mode": "0644", "link": HOSTILE });
    let text = json!({ "kind": "text", "added_lines": 1, "removed_lines": 0, "omitted_lines": 0,
        "hunks": [{ "old_start": 1, "old_lines": 0, "new_start": 1, "new_lines": 1,
            "lines": [format!("+{HOSTILE}"), " ```", " ````"] }] });
    let archive = json!({ "kind": "zip", "unchanged_members": 0, "omitted_members": 0,
        "members": [{ "name": HOSTILE, "change": "added", "patch": text }] });
    let image =
        json!({ "name": HOSTILE, "digest": HOSTILE, "created": HOSTILE, "platform": HOSTILE });
    let package = json!({ "ecosystem": "dpkg", "name": HOSTILE, "change": "added", "old": null,
        "new": HOSTILE, "version": HOSTILE, "files": 1, "bytes": 1, "delta_bytes": 1 });
    json!({
        "old": image, "new": image, "summary": { "pull_bytes": 9000, "full_pull_bytes": 9000 },
        "layers": [{ "relation": "added", "old": null, "new": { "digest": HOSTILE } }],
        "config": [{ "field": HOSTILE, "key": HOSTILE, "old": HOSTILE, "new": HOSTILE }],
        "packages": [package],
        "files": [
            { "path": HOSTILE, "change": "added", "old": null, "new": file, "patch": text },
            { "path": format!("/b{HOSTILE}"), "change": "modified", "old": file, "new": file, "patch": archive },
            { "path": "/c", "change": "moved", "from": HOSTILE, "old": file, "new": file },
        ],
        "notes": [{ "side": "old", "text": HOSTILE }],
        "cost": { "delta_bytes": 7, "packages": [package],
            "files": [{ "path": HOSTILE, "how": HOSTILE, "layer": 0, "bytes": 1, "delta_bytes": 7 }],
            "layers": [{ "blob": HOSTILE, "way": HOSTILE, "header_bytes": 1 }] },
    })
}

fn is_harmless(page: &str) {
    let count = |text: &str| page.matches(text).count();
    assert_eq!((count("<script"), count("</script")), (2, 2));
    assert_eq!((count("<style"), count("</style")), (1, 1));
    assert_eq!(count("<img") + count("<!--"), 0);
    // Attributes are ended by quotation marks alone.
    assert_eq!(count("x onerror=hit()>\""), 0);
    assert_eq!(count("<pre"), count("</pre"));
}

#[test]
fn no_text_of_an_image_becomes_markup_in_a_page() {
    is_harmless(&upgrade_page(&upgrade()));
    let version = json!({ "tag": HOSTILE, "digest": HOSTILE, "created": HOSTILE,
        "deltas": [{ "base": HOSTILE, "from": HOSTILE, "bytes": 1 }, { "base": HOSTILE, "bytes": 1 }] });
    let ways = json!([{ "from": HOSTILE, "to": HOSTILE, "pull_bytes": 1, "delta_bytes": 1 }]);
    is_harmless(&history_page(&json!({ "repository": HOSTILE, "versions": [version, version],
        "ways": ways, "notes": [{ "text": HOSTILE }] })));
}

#[test]
fn no_text_of_an_image_becomes_markup_in_a_comment() {
    let comment = upgrade_markdown(&upgrade());
    let outside: String = comment.split("`````").step_by(2).collect();
    assert!(!outside.contains("<script") && !outside.contains("<img"), "{outside}");
    assert!(!outside.contains('@') && !outside.contains("onerror="), "{outside}");
    // The patch has a line of four backticks, so that its fence has five.
    assert!(comment.contains("\n`````diff\n") && comment.contains("\n ````\n`````\n"), "{comment}");
}

#[test]
fn the_policy_names_the_style_and_the_script_and_nothing_else() {
    let page = upgrade_page(&upgrade());
    let policy = page.split("content=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(
        !policy.contains("unsafe") && !policy.contains(':') && !policy.contains('*'),
        "{policy}"
    );
    assert_eq!(page.matches(" style=").count() + page.matches(" onclick=").count(), 0);
}

#[test]
fn odd_documents_give_pages_and_never_a_panic() {
    for odd in [
        json!(null),
        json!([1]),
        json!({ "files": 3, "layers": [1, null], "packages": {}, "cost": [], "notes": [{}] }),
        json!({ "files": [{ "patch": { "kind": "text", "hunks": [{ "lines": [1, ""] }] } }] }),
        json!({ "versions": [{}, { "tag": "x" }], "ways": [{}] }),
        json!({ "cost": { "delta_bytes": 0 }, "summary": { "pull_bytes": u64::MAX } }),
    ] {
        is_harmless(&upgrade_page(&odd));
        is_harmless(&history_page(&odd));
        upgrade_markdown(&odd);
    }
}

#[test]
fn a_page_of_many_files_has_a_bounded_size() {
    let lines: Vec<String> = (0..2000).map(|line| format!("+line {line}")).collect();
    let patch = json!({ "kind": "text", "hunks": [{ "lines": lines }] });
    let file = |at: u64| {
        json!({ "path": format!("/f{at}"), "change": "added", "new": { "size": at },
        "patch": patch })
    };
    let files: Vec<Value> = (0..200).map(file).collect();
    let page = upgrade_page(&json!({ "files": files }));
    assert_eq!(page.matches("<ins>").count(), 20_000, "the room for patches");
    assert!(page.contains("… 1600 more lines"));
    let files: Vec<Value> = (0..30_000)
        .map(
            |at| json!({ "path": format!("/f{at}"), "change": "added", "new": { "size": at + 1 } }),
        )
        .collect();
    let page = upgrade_page(&json!({ "files": files }));
    assert_eq!(page.matches("class=\"file\"").count(), 3000);
    assert!(page.contains("27,000 smaller files are not listed"));
    assert!(page.len() < 3_000_000, "{}", page.len());
}
