//! Images staged before anything pulls them, by a person or a script.
//!
//! Layers stay for the time of the lease. Without a delta that pays, whole layers are staged.

use crate::{config::Config, runtime::Runtime};
use imgdelta::Session;
use imgdelta_core::{Error, Result};
use imgdelta_image::{Reference, image::OpenOptions, reference::RegistryReference};
use imgdelta_registry::{
    Credentials, PullOptions, PullReport, Registries,
    pull::{LinkSpeed, PullDestination},
};
use std::sync::Arc;

/// Stages an image in the store of a runtime. Blocks.
///
/// The registry must be one of the configuration; the login is one of `credentials`.
pub fn stage(
    config: &Config,
    runtime: &Arc<dyn Runtime>,
    session: &Session,
    image: &Reference,
    credentials: Credentials,
) -> Result<PullReport> {
    let Reference::Registry(named) = image else {
        return Err(Error::bad_input(image, "not an image of a registry"));
    };
    let Some(registry) = config.registry(Some(&named.host)) else {
        let what = "its registry is none of the configuration: add it as [[registry]]";
        return Err(Error::bad_input(image, what));
    };
    let options = OpenOptions::default().limits(session.context().limits.clone());
    let bases = runtime.images(&named.host, &named.repository, &options)?;
    let source = RegistryReference { host: registry.address().to_owned(), ..named.clone() };
    let registries = Registries::new(registry.client_options().credentials(credentials))?;
    let runtime = Arc::clone(runtime);
    let destination = PullDestination::sink("the runtime's store", move || runtime.sink());
    let workers = session.context().workers.count();
    let link = LinkSpeed::new(config.link.rate.get_ref().0, workers);
    let options = PullOptions::default().link(Some(link));
    let source = Reference::Registry(source);
    registries.plan_pull_to(session, &source, bases, destination, &options)?.carry_out()
}
