//! Images staged before anything pulls them, by a person or a script.
//!
//! Layers stay for the time of `stage-lease`. Without a delta that pays, whole layers are staged.

use crate::{bases::PullRequest, config::Config, pull::NodePull, runtime::Runtime};
use imgdelta::Session;
use imgdelta_core::{Error, Result};
use imgdelta_image::Reference;
use imgdelta_registry::{
    ClientOptions, Credentials, PullReport, Registries, pull::PullDestination,
};
use std::{fmt, sync::Arc};

/// Stages images in the store of a runtime.
pub struct ImageStager {
    config: Config,
    runtime: Arc<dyn Runtime>,
    session: Session,
    credentials: Box<dyn Fn() -> Credentials>,
    /// Its threads serve all registries.
    network: Registries,
}

impl ImageStager {
    /// Prepares; sends nothing. `credentials` returns the logins, once for each image.
    pub fn new(
        config: Config,
        runtime: Arc<dyn Runtime>,
        session: Session,
        credentials: impl Fn() -> Credentials + 'static,
    ) -> Result<Self> {
        let network = Registries::new(ClientOptions::default())?;
        Ok(Self { config, runtime, session, credentials: Box::new(credentials), network })
    }

    /// Returns the tags that images of the runtime have, in registries of the configuration.
    pub fn tagged_images(&self) -> Result<Vec<Reference>> {
        let names = self.runtime.names()?;
        Ok(names.iter().filter_map(|name| tagged(name, &self.config)).collect())
    }

    /// Stages an image. Its registry must be one of the configuration. Blocks.
    pub fn stage(&self, image: &Reference) -> Result<PullReport> {
        let Reference::Registry(image) = image else {
            return Err(Error::bad_input(image, "not an image of a registry"));
        };
        let Self { config, runtime, session, .. } = self;
        let node = NodePull { config, runtime, session };
        let options = node.registry(image)?.client_options().credentials((self.credentials)());
        let registries = &self.network.with_options(options);
        let destination = || {
            let store = Arc::clone(runtime);
            PullDestination::sink("the runtime's store", move || store.staging_sink())
        };
        let options = &node.by_time(config.link.rate.get_ref().0);
        let plan = match (PullRequest { node, registries, image, options }).plan(&destination)? {
            Some(plan) => plan,
            // Whole layers are staged.
            None => node.plan(registries, image, Vec::new(), destination(), options)?,
        };
        plan.carry_out()
    }
}

impl fmt::Debug for ImageStager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runtime, session, .. } = self;
        f.debug_struct("ImageStager")
            .field("runtime", runtime)
            .field("session", session)
            .finish_non_exhaustive()
    }
}

/// Parses the name of an image of a runtime; `None` unless it is a tag in a registry of the
/// configuration. A digest stays the same image; a tag may name another one by now.
fn tagged(name: &str, config: &Config) -> Option<Reference> {
    // Kubernetes also names each image by the digest of its config, without a registry.
    let name = Some(name).filter(|name| name.contains('/') && !name.contains('@'))?;
    let reference: Reference = format!("docker://{name}").parse().ok()?;
    let Reference::Registry(image) = &reference else { return None };
    config.registry(Some(&image.host)).is_some().then_some(reference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tags_in_registries_of_the_configuration_are_staged_again() {
        let config = "[[registry]]\nhost = 'r.test:5000'\n[[registry]]\nhost = 'docker.io'\n";
        let config = Config::parse(config, "node.toml").unwrap();
        let hex = "a".repeat(64);
        let names = [
            "r.test:5000/team/app:stable",
            "docker.io/library/nginx:1",
            "elsewhere.test/app:1",
            &format!("r.test:5000/team/app@sha256:{hex}"),
            &format!("sha256:{hex}"),
            "import-2024-01-01",
        ];
        let tagged = names.iter().filter_map(|name| tagged(name, &config));
        let tagged: Vec<String> = tagged.map(|image| image.to_string()).collect();
        let expected =
            ["docker://r.test:5000/team/app:stable", "docker://docker.io/library/nginx:1"];
        assert_eq!(tagged, expected);
    }
}
