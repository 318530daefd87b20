//! The command `job explain`.
//!
//! Asks the registry and the queue, and changes neither.

use super::{configuration, with_job, without_registry};
use crate::{
    args::{CommonOptions, ExplainArgs},
    output,
};
use imgdelta::Result;
use imgdelta_registry::RepositoryName;
use std::process::ExitCode;

/// Runs the command.
pub fn run(args: &ExplainArgs, common: &CommonOptions) -> Result<ExitCode> {
    let config = configuration(&args.ask.config, common)?;
    let host = config.registry.host.get_ref().clone();
    let (name, tag) = image(&args.image, &host)?;
    let explanation =
        with_job(config, common, async |job| job.explain(&name, tag.as_deref()).await)?;
    output::print_result(|| explanation.json(), &explanation, args.ask.json, false)
}

/// Parses a repository of the registry with a tag, also with the registry in front, as commands that
/// pull write it.
fn image(text: &str, host: &str) -> Result<(RepositoryName, Option<String>)> {
    let name = without_registry(host, text)?;
    let (name, tag) = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag.to_owned())),
        _ => (name, None),
    };
    Ok((RepositoryName::parse(host, name)?, tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_named_with_or_without_registry_and_tag() {
        let parsed = |text: &str| {
            image(text, "r.test:5000")
                .map(|(name, tag)| (name.to_string(), tag.unwrap_or_default()))
        };
        for text in ["team/app", "docker://r.test:5000/team/app"] {
            assert_eq!(parsed(text).unwrap(), ("team/app".into(), String::new()));
            assert_eq!(parsed(&format!("{text}:v1")).unwrap(), ("team/app".into(), "v1".into()));
        }
        let other = parsed("docker://other.test/team/app").unwrap_err().to_string();
        assert!(other.contains("the registry of this configuration is r.test:5000"), "{other}");
        assert!(parsed("UPPER").is_err());
    }
}
