//! Names of repositories and tags.

use imgdelta_image::reference::{RepositoryName, TagName};

#[test]
fn repositories_follow_the_grammar_of_the_specification() {
    for name in ["a", "team/app", "a.b/c_d/e__f/g-h", "a---b", "0/1", "library/debian"] {
        assert_eq!(name.parse::<RepositoryName>().unwrap(), name);
    }
    for name in [
        "",
        "/",
        "a/",
        "/a",
        "a//b",
        "//host/a",
        ".",
        "..",
        "a/../b",
        "a/./b",
        ".a",
        "a.",
        "-a",
        "a-",
        "_a",
        "a..b",
        "a___b",
        "a._b",
        "a-_b",
        "A",
        "a/B",
        "a?x=1",
        "a#x",
        "a%2eb",
        "http:",
        "http://h/a",
        "a:b",
        "a@b",
        "a b",
        "a\nb",
        "a\0",
        "a\\b",
        "ä",
        "a/\u{202e}b",
    ] {
        assert!(name.parse::<RepositoryName>().is_err(), "{name:?}");
    }
}

#[test]
fn host_and_repository_have_255_bytes_together() {
    let name = "a".repeat(200);
    assert!(RepositoryName::parse(&"h".repeat(54), &name).is_ok());
    assert!(RepositoryName::parse(&"h".repeat(55), &name).is_err());
    assert!(RepositoryName::parse("", &"a".repeat(255)).is_ok());
    assert!(RepositoryName::parse("", &"a".repeat(256)).is_err());
}

#[test]
fn tags_follow_the_grammar_and_messages_are_escaped_and_short() {
    for tag in ["v1", "_", "1.2-rc.3", &"a".repeat(128)] {
        assert_eq!(tag.parse::<TagName>().unwrap(), *tag);
    }
    for tag in ["", "-a", ".a", "a/b", "a:b", "a?b", "../x", "a%2f", "ä", &"a".repeat(129)] {
        assert!(tag.parse::<TagName>().is_err(), "{tag:?}");
    }
    let message = format!("x\u{1b}[31m{}", "y".repeat(9000)).parse::<TagName>();
    let message = message.unwrap_err().to_string();
    assert!(!message.contains('\u{1b}') && message.len() < 500, "{message}");
}
