//! The wanted deltas: versions and a rule in, tasks out.
//!
//! Pure: makes no request, reads no clock, and gives the same tasks in the same order for the same
//! versions in any order (test `rules_and_versions_give_tasks`).

use crate::{
    config::{Config, DeltaTargets, Rule, VersionOrder},
    queue::{NewTask, RequestedPair},
    task::{Direction, Task},
};
use imgdelta::{BlobDigest, image::Platform};
use imgdelta_core::sort::SharedSort;
use imgdelta_registry::{RepositoryName, is_digest_tag};
use semver::Version as Number;
use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashSet},
    fmt,
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

/// The reason for which a tag is a version for a rule, or is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagVerdict {
    /// It is a version.
    Version,
    /// It is made of a digest: a list of referrers, a signature, an attestation.
    OfDigest,
    /// No pattern of `tags` matches it.
    NotInTags,
    /// This pattern of `except` matches it.
    Excepted(String),
    /// It is not a version number, and `order` is `semver`.
    NotANumber,
}

impl fmt::Display for TagVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The tag passes all that a rule says of tags.
            Self::Version => f.write_str("not an image"),
            Self::OfDigest => f.write_str("made of a digest, never a version"),
            Self::NotInTags => f.write_str("no pattern of `tags` matches it"),
            Self::Excepted(pattern) => write!(f, "`except` has {pattern:?}"),
            Self::NotANumber => f.write_str("not a version number, and order = \"semver\""),
        }
    }
}

/// Returns true if a tag is a version for a rule. Tags of referrers and signatures never are (test
/// `lists_signatures_and_other_tags_are_not_versions`).
pub fn is_version(rule: &Rule, tag: &str) -> bool {
    verdict(rule, tag) == TagVerdict::Version
}

/// Returns the verdict on a tag.
pub fn verdict(rule: &Rule, tag: &str) -> TagVerdict {
    if is_digest_tag(tag) {
        return TagVerdict::OfDigest;
    }
    if !rule.tags.iter().any(|pattern| pattern.matches(tag)) {
        return TagVerdict::NotInTags;
    }
    if let Some(pattern) = rule.except.iter().find(|pattern| pattern.matches(tag)) {
        return TagVerdict::Excepted(pattern.text().to_owned());
    }
    if rule.order == VersionOrder::Semver && number(tag).is_none() {
        return TagVerdict::NotANumber;
    }
    TagVerdict::Version
}

/// Sorts tags by version number, the newest first.
pub fn sort_by_number(tags: &mut [String]) {
    tags.sort_by_cached_key(|tag| (Reverse(number(tag)), tag.clone()));
}

/// Returns the tasks of a rule for a repository, the most important first.
pub fn wanted_tasks(rule: &Rule, repository: &RepositoryName, versions: &[Version]) -> Vec<Task> {
    let line = ordered(rule, versions);
    let keep = *rule.keep.get_ref();
    // Places in the line, which is the age of a version.
    let older = (1..line.len()).take(keep);
    let pairs: Vec<(usize, usize)> = match rule.to {
        DeltaTargets::Newest => older.map(|older| (older, 0)).collect(),
        DeltaTargets::Neighbours => older.map(|older| (older, older - 1)).collect(),
    };
    let directions: &[Direction] =
        if rule.rollback { &[Direction::Forward, Direction::Back] } else { &[Direction::Forward] };
    let (mut tasks, mut keys) = (Vec::new(), HashSet::new());
    for direction in directions {
        for (older, newer) in &pairs {
            let (from, to) = match direction {
                Direction::Forward => (*older, *newer),
                Direction::Back => (*newer, *older),
            };
            let (base, target) = (line[from], line[to]);
            let priority = priority(*direction, from, to);
            for (platform, from, to) in common_platforms(rule, base, target) {
                let (base, target) = ((from, base.tag.clone()), (to, target.tag.clone()));
                let task = Task::by_rule(rule, repository, &platform, Some(base), target);
                let task = Task { direction: *direction, priority, ..task };
                // Two indexes may contain one image.
                if from != to && keys.insert(task.key()) {
                    tasks.push(task);
                }
            }
        }
    }
    if let Some(newest) = line.first().filter(|_| rule.first) {
        for (platform, image) in
            newest.images.iter().filter(|(platform, _)| is_wanted(rule, platform))
        {
            let target = (*image, newest.tag.clone());
            let task = Task::by_rule(rule, repository, platform, None, target);
            let task = Task { priority: FIRST_BAND * NewTask::BAND, ..task };
            if keys.insert(task.key()) {
                tasks.push(task);
            }
        }
    }
    tasks
}

/// Returns tasks to the newest version from images that receivers have, by their requests, the last
/// request first, and without those that are `wanted` anyway.
pub fn learned_tasks(
    rule: &Rule,
    repository: &RepositoryName,
    versions: &[Version],
    requested: &[RequestedPair],
    wanted: &[Task],
) -> Vec<Task> {
    let Some(newest) = ordered(rule, versions).first().copied() else { return Vec::new() };
    let mut keys: HashSet<String> = wanted.iter().map(Task::key).collect();
    let mut tasks = Vec::new();
    for pair in requested {
        let (Ok(platform), Ok(base)) = (pair.platform.parse(), pair.base.parse()) else { continue };
        let platform: Platform = platform;
        let same = |offered: &&(Platform, BlobDigest)| platform.distance(&offered.0) == Some(0);
        let Some((_, target)) = newest.images.iter().find(same) else { continue };
        let holds = |version: &&Version| version.images.iter().any(|(_, image)| *image == base);
        let named = versions.iter().find(holds);
        let base_tag = named.map_or_else(|| base.to_string(), |version| version.tag.clone());
        let (from, to) = ((base, base_tag), (*target, newest.tag.clone()));
        let task = Task::by_rule(rule, repository, &platform, Some(from), to);
        let task = Task { priority: priority(Direction::Forward, MAX_LEARNED, 0), ..task };
        if base != *target && keys.insert(task.key()) {
            tasks.push(task);
        }
        if tasks.len() == MAX_LEARNED {
            break;
        }
    }
    tasks
}

/// Returns the priority of a task between two places in the line of versions. The way to the newest
/// version from the one before is a band of its own: most receivers wait for it, and no other delta
/// of any repository goes before it.
fn priority(direction: Direction, base: usize, target: usize) -> u32 {
    let is_next = (base, target) == (1, 0) || (base, target) == (0, 1);
    let band = match (direction, is_next) {
        (Direction::Forward, true) => 0,
        (Direction::Forward, false) => 1,
        (Direction::Back, true) => 2,
        (Direction::Back, false) => 3,
    };
    let place = |age: usize| u32::try_from(age).unwrap_or(u32::MAX).min(MAX_PLACE);
    band * NewTask::BAND + place(target) * (MAX_PLACE + 1) + place(base.abs_diff(target))
}

/// The band of deltas without a base, behind those of [`priority`]: they take the most time.
const FIRST_BAND: u32 = 4;

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
            line.shared_sort_by_key(|version| (Reverse(version.created), &version.tag));
        }
        VersionOrder::Push => {
            line.shared_sort_by_key(|version| (Reverse(version.seen), &version.tag));
        }
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
    let images = target.images.iter().filter(|(platform, _)| is_wanted(rule, platform));
    let pairs = images.filter_map(|(platform, to)| {
        let same = |offered: &Platform| platform.distance(offered) == Some(0);
        let (_, from) = base.images.iter().find(|(offered, _)| same(offered))?;
        Some((platform.clone(), *from, *to))
    });
    pairs.collect()
}

fn is_wanted(rule: &Rule, platform: &Platform) -> bool {
    rule.platforms.is_empty()
        || rule.platforms.iter().any(|wanted| wanted.distance(platform) == Some(0))
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

/// Versions that receivers have and no rule names: each costs a delta for every new version.
const MAX_LEARNED: usize = 8;

/// Returns those of the repositories that changed lately that a service scans more often: those that a
/// rule names, no more than the configuration says, in the same order.
pub fn busy_repositories(config: &Config, changed: &[String]) -> Vec<RepositoryName> {
    let is_named = |name: &RepositoryName| config.rule(name.as_str()).is_some();
    let names = changed.iter().filter_map(|name| name.parse().ok()).filter(is_named);
    names.take(config.scan.busy as usize).collect()
}

/// More than the longest line of versions; two of them fill a band.
const MAX_PLACE: u32 = 255;

#[cfg(test)]
mod tests {
    use super::*;

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
            ("except = [\"*-rc*\"]\nkeep = 1\nfirst = true", &["v1.9.0>v1.10.0", ">v1.10.0"]),
            ("tags = [\"v2.*\"]\nfirst = true", &[">v2.0.0-rc.1"]),
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
    fn the_way_to_the_newest_version_goes_first() {
        let list = versions(&["v1@1", "v2@2", "v3@3", "v4@4"]);
        let order = |text: &str| {
            let rule = rule(&format!("platforms = [\"linux/amd64\"]\nrollback = true\n{text}"));
            let mut tasks = wanted_tasks(&rule, &name("x"), &list);
            tasks.sort_by_key(|task| task.priority);
            let line = |task: &Task| {
                let band = task.priority / NewTask::BAND;
                format!("{band} {}>{}", task.base_tag, task.target_tag)
            };
            tasks.iter().map(line).collect::<Vec<_>>()
        };
        assert_eq!(
            order(""),
            ["0 v3>v4", "1 v2>v4", "1 v1>v4", "2 v4>v3", "3 v4>v2", "3 v4>v1"],
            "nearest base first, forward before back"
        );
        assert_eq!(
            order("to = \"neighbours\""),
            ["0 v3>v4", "1 v2>v3", "1 v1>v2", "2 v4>v3", "3 v3>v2", "3 v2>v1"],
            "newest target first"
        );
    }

    #[test]
    fn versions_that_receivers_have_get_a_way_to_the_newest() {
        let rule = rule("platforms = [\"linux/amd64\"]\nkeep = 1\n");
        let list = versions(&["v1@1", "v2@2", "v3@3", "v4@4"]);
        let pair = |base: u64, platform: &str| RequestedPair {
            base: digest(base).to_string(),
            target: digest(31).to_string(),
            platform: platform.into(),
            ..RequestedPair::default()
        };
        let wanted = wanted_tasks(&rule, &name("x"), &list);
        let requested = [
            pair(11, "linux/amd64"),
            pair(31, "linux/amd64"),
            pair(11, "linux/amd64"),
            pair(990, "linux/amd64"),
            pair(41, "linux/amd64"),
            pair(11, "linux/riscv64"),
            RequestedPair { base: "x".into(), ..pair(11, "linux/amd64") },
        ];
        let learned = learned_tasks(&rule, &name("x"), &list, &requested, &wanted);
        let names: Vec<_> =
            learned.iter().map(|task| (task.base_tag.as_str(), task.target)).collect();
        let unnamed = digest(990).to_string();
        assert_eq!(names, [("v1", digest(41)), (unnamed.as_str(), digest(41))]);
        assert!(learned.iter().all(|task| task.priority > wanted[0].priority));
        let many: Vec<_> = (100..200).map(|base| pair(base, "linux/amd64")).collect();
        assert_eq!(learned_tasks(&rule, &name("x"), &list, &many, &wanted).len(), MAX_LEARNED);
        assert_eq!(learned_tasks(&rule, &name("x"), &[], &many, &wanted), []);
    }

    #[test]
    fn busy_repositories_are_those_that_a_rule_names() {
        let busy = |most: u32| {
            let text = format!(
                "[registry]\nhost = \"r\"\n[scan]\nbusy = {most}\n[[rule]]\nrepositories = [\"team/*\"]\n"
            );
            let changed = ["team/b", "old/a", "../x", "team/a", "team/c"].map(String::from);
            let names = busy_repositories(&Config::parse(&text, "t").unwrap(), &changed);
            names.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(busy(9), ["team/b", "team/a", "team/c"]);
        assert_eq!(busy(2), ["team/b", "team/a"]);
        assert_eq!(busy(0), [""; 0]);
    }

    #[test]
    fn each_common_platform_has_a_task() {
        let mut list = versions(&["v1@1", "v2@2", "v3@3"]);
        list[0].images.remove(1);
        // The arm64 image did not change from v2 to v3.
        list[2].images[1].1 = list[1].images[1].1;
        let tasks = wanted_tasks(&rule("keep = 5\n"), &name("x"), &list);
        let pairs: Vec<_> = tasks.iter().map(|task| (task.base, task.target)).collect();
        assert_eq!(pairs, [(Some(digest(21)), digest(31)), (Some(digest(11)), digest(31))]);
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
        assert_eq!(verdict(&any, &format!("sha256-{hex}")), TagVerdict::OfDigest);
        let strict = rule("tags = [\"v*\", \"night*\"]\nexcept = [\"*-rc*\"]\n");
        assert_eq!(verdict(&strict, "v1"), TagVerdict::Version);
        assert_eq!(verdict(&strict, "nightly"), TagVerdict::NotANumber);
        assert_eq!(verdict(&strict, "1.0"), TagVerdict::NotInTags);
        assert_eq!(verdict(&strict, "v1-rc1"), TagVerdict::Excepted("*-rc*".into()));
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
            &rule("rollback = true\npreset = \"best\"\nworth = \"55%\"\nframes = false\n"),
            &name("x"),
            &versions(&["v1@1", "v2@2"]),
        ) {
            assert_eq!(Task::parse(&task.text()).unwrap(), task);
        }
        assert!(Task::parse("{}").is_err());
    }
}
