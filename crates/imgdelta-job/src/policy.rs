//! The wanted deltas: versions and a rule in, tasks out.
//!
//! Pure: makes no request, reads no clock, and gives the same tasks in the same order for the same
//! versions in any order (test `rules_and_versions_give_tasks`).

use crate::{
    config::{DeltaTargets, Rule, VersionOrder},
    task::{Direction, Task},
};
use imgdelta::{BlobDigest, image::Platform};
use imgdelta_registry::{RepositoryName, is_digest_tag};
use semver::Version as Number;
use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashSet},
};

/// A tag and its images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The tag.
    pub tag: String,
    /// Digest of the tag's manifest or index.
    pub digest: BlobDigest,
    /// Creation date in the config, in seconds since 1970.
    pub created: Option<i64>,
    /// A number that grows with each tag that is new or moved.
    pub seen: u64,
    /// Its images.
    pub images: Vec<(Platform, BlobDigest)>,
}

/// Returns true if a tag is a version for a rule. Tags of referrers and signatures never are (test
/// `lists_signatures_and_other_tags_are_not_versions`).
pub fn is_version(rule: &Rule, tag: &str) -> bool {
    !is_digest_tag(tag)
        && rule.tags.iter().any(|pattern| pattern.matches(tag))
        && !rule.except.iter().any(|pattern| pattern.matches(tag))
        && (rule.order != VersionOrder::Semver || number(tag).is_some())
}

/// Sorts tags by version number, the newest first.
pub fn sort_by_number(tags: &mut [String]) {
    tags.sort_by_cached_key(|tag| (Reverse(number(tag)), tag.clone()));
}

/// Returns the tasks of a rule for a repository, the most important first.
pub fn wanted_tasks(rule: &Rule, repository: &RepositoryName, versions: &[Version]) -> Vec<Task> {
    let line = ordered(rule, versions);
    let keep = *rule.keep.get_ref();
    let pairs: Vec<(&Version, &Version)> = match (rule.to, line.split_first()) {
        (_, None) => Vec::new(),
        (DeltaTargets::Newest, Some((newest, older))) => {
            older.iter().take(keep).map(|older| (*older, *newest)).collect()
        }
        (DeltaTargets::Neighbours, Some(_)) => {
            line.windows(2).take(keep).map(|pair| (pair[1], pair[0])).collect()
        }
    };
    let directions: &[Direction] =
        if rule.rollback { &[Direction::Forward, Direction::Back] } else { &[Direction::Forward] };
    let (mut tasks, mut keys) = (Vec::new(), HashSet::new());
    for direction in directions {
        for (older, newer) in &pairs {
            let (base, target) = match direction {
                Direction::Forward => (older, newer),
                Direction::Back => (newer, older),
            };
            for (platform, from, to) in common_platforms(rule, base, target) {
                let task = Task {
                    repository: repository.clone(),
                    base: from,
                    target: to,
                    platform: platform.to_string(),
                    direction: *direction,
                    base_tag: base.tag.clone(),
                    target_tag: target.tag.clone(),
                    preset: rule.preset,
                    worth: rule.worth,
                };
                // Two indexes may contain one image.
                if from != to && keys.insert(task.key()) {
                    tasks.push(task);
                }
            }
        }
    }
    tasks
}

/// Returns the versions of a rule, the newest first, each image or index once.
fn ordered<'a>(rule: &Rule, versions: &'a [Version]) -> Vec<&'a Version> {
    let mut line: Vec<&Version> =
        versions.iter().filter(|version| is_version(rule, &version.tag)).collect();
    match rule.order {
        VersionOrder::Semver => {
            line.sort_by_cached_key(|version| (Reverse(number(&version.tag)), version.tag.clone()));
        }
        VersionOrder::Date => {
            line.retain(|version| version.created.is_some());
            line.sort_by_key(|version| (Reverse(version.created), &version.tag));
        }
        VersionOrder::Push => line.sort_by_key(|version| (Reverse(version.seen), &version.tag)),
    }
    let mut digests = BTreeSet::new();
    line.retain(|version| digests.insert(version.digest));
    line
}

/// Returns the platforms that both versions have, with their images.
fn common_platforms(
    rule: &Rule,
    base: &Version,
    target: &Version,
) -> Vec<(Platform, BlobDigest, BlobDigest)> {
    let is_wanted = |platform: &Platform| {
        rule.platforms.is_empty()
            || rule.platforms.iter().any(|wanted| wanted.distance(platform) == Some(0))
    };
    let images = target.images.iter().filter(|(platform, _)| is_wanted(platform));
    let pairs = images.filter_map(|(platform, to)| {
        let same = |offered: &Platform| platform.distance(offered) == Some(0);
        let (_, from) = base.images.iter().find(|(offered, _)| same(offered))?;
        Some((platform.clone(), *from, *to))
    });
    pairs.collect()
}

/// Parses a version number: `v1.2.3-rc.1`, also `1.2`, `7` and `2024.01.31`.
fn number(tag: &str) -> Option<Number> {
    let tag = tag.strip_prefix('v').unwrap_or(tag);
    let core_end = tag.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(tag.len());
    let (core, rest) = tag.split_at(core_end);
    let mut parts = [0_u64; 3];
    for (place, part) in core.split('.').enumerate() {
        *parts.get_mut(place)? = part.parse().ok()?;
    }
    let [major, minor, patch] = parts;
    let mut number = Number::new(major, minor, patch);
    if !rest.is_empty() {
        number.pre = semver::Prerelease::new(rest.strip_prefix('-')?).ok()?;
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn digest(number: u64) -> BlobDigest {
        format!("sha256:{number:064x}").parse().unwrap()
    }

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    fn rule(text: &str) -> Rule {
        let text = format!("[registry]\nhost = \"r\"\n[[rule]]\nrepositories = [\"x\"]\n{text}");
        Config::parse(&text, "t").unwrap().rule("x").unwrap().clone()
    }

    /// Makes versions of `TAG@ROOT`, created and seen in the order of the list.
    fn versions(list: &[&str]) -> Vec<Version> {
        let one = |(at, text): (usize, &&str)| {
            let (tag, root) = text.split_once('@').unwrap();
            let root: u64 = root.parse().unwrap();
            let images = ["linux/amd64", "linux/arm64"].into_iter().zip(1_u64..);
            Version {
                tag: tag.into(),
                digest: digest(root),
                created: i64::try_from(at).ok(),
                seen: at as u64,
                images: images
                    .map(|(platform, at)| (platform.parse().unwrap(), digest(root * 10 + at)))
                    .collect(),
            }
        };
        list.iter().enumerate().map(one).collect()
    }

    fn shown(rule: &Rule, versions: &[Version]) -> Vec<String> {
        let tasks = wanted_tasks(rule, &name("x"), versions);
        tasks.iter().map(|task| format!("{}>{}", task.base_tag, task.target_tag)).collect()
    }

    #[test]
    fn rules_and_versions_give_tasks() {
        let amd64 = "platforms = [\"linux/amd64\"]\n";
        let list = ["v1.9.0@1", "v1.10.0@2", "v1.2@3", "latest@2", "v2.0.0-rc.1@4", "v1.1.0@5"];
        let rows: &[(&str, &[&str])] = &[
            ("keep = 2", &["v1.10.0>v2.0.0-rc.1", "v1.9.0>v2.0.0-rc.1"]),
            ("except = [\"*-rc*\"]\nkeep = 2", &["v1.9.0>v1.10.0", "v1.2>v1.10.0"]),
            (
                "except = [\"*-rc*\"]\nto = \"neighbours\"\nkeep = 2",
                &["v1.9.0>v1.10.0", "v1.2>v1.9.0"],
            ),
            (
                "except = [\"*-rc*\"]\nkeep = 1\nrollback = true",
                &["v1.9.0>v1.10.0", "v1.10.0>v1.9.0"],
            ),
            // By date; an image with two tags counts once, under the later tag.
            ("order = \"date\"\nkeep = 3", &["v2.0.0-rc.1>v1.1.0", "latest>v1.1.0", "v1.2>v1.1.0"]),
            ("order = \"push\"\nkeep = 1", &["v2.0.0-rc.1>v1.1.0"]),
            ("tags = [\"v1.*\"]\nexcept = [\"v1.1*\"]\nkeep = 9", &["v1.2>v1.9.0"]),
            ("tags = [\"none\"]", &[]),
        ];
        for (text, expected) in rows {
            let rule = rule(&format!("{amd64}{text}\n"));
            assert_eq!(shown(&rule, &versions(&list)), *expected, "{text}");
            let mut reversed = versions(&list);
            reversed.reverse();
            assert_eq!(shown(&rule, &reversed), *expected, "{text}: order of the list");
        }
    }

    #[test]
    fn each_common_platform_has_a_task() {
        let mut list = versions(&["v1@1", "v2@2", "v3@3"]);
        list[0].images.remove(1);
        // The arm64 image did not change from v2 to v3.
        list[2].images[1].1 = list[1].images[1].1;
        let tasks = wanted_tasks(&rule("keep = 5\n"), &name("x"), &list);
        let pairs: Vec<_> = tasks.iter().map(|task| (task.base, task.target)).collect();
        assert_eq!(pairs, [(digest(21), digest(31)), (digest(11), digest(31))]);
        assert_eq!(tasks[0].platform, "linux/amd64");
        let tasks = wanted_tasks(
            &rule("platforms = [\"linux/arm64/v8\"]\nto = \"neighbours\"\n"),
            &name("x"),
            &list,
        );
        assert_eq!(tasks, [], "v1 has none, and v3 has that of v2");
    }

    #[test]
    fn lists_signatures_and_other_tags_are_not_versions() {
        let any = rule("order = \"date\"\n");
        let hex = "ab".repeat(32);
        for tag in
            [format!("sha256-{hex}"), format!("sha256-{hex}.sig"), format!("sha256-{hex}.att")]
        {
            assert!(!is_version(&any, &tag), "{tag}");
        }
        assert!(is_version(&any, "nightly"));
        assert!(!is_version(&rule("order = \"semver\"\n"), "nightly"));
    }

    #[test]
    fn tags_are_parsed_as_version_numbers() {
        let mut tags: Vec<String> =
            ["v1", "1.2", "1.2.1-rc.2", "2024.01.31", "1.2.1-rc.10", "1.2.1"]
                .map(String::from)
                .to_vec();
        sort_by_number(&mut tags);
        assert_eq!(tags, ["2024.01.31", "1.2.1", "1.2.1-rc.10", "1.2.1-rc.2", "1.2", "v1"]);
        for tag in ["", "v", "1.2.3.4", "1..2", "latest", "1.2.3_4", "99999999999999999999"] {
            assert_eq!(number(tag), None, "{tag}");
        }
    }

    #[test]
    fn a_task_survives_the_queue() {
        for task in wanted_tasks(
            &rule("rollback = true\npreset = \"best\"\nworth = \"55%\"\n"),
            &name("x"),
            &versions(&["v1@1", "v2@2"]),
        ) {
            assert_eq!(Task::parse(&task.text()).unwrap(), task);
        }
        assert!(Task::parse("{}").is_err());
    }
}
