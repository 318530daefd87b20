//! Registries for a session: open images, pull, push.
//!
//! Holds no protocol. Blocking methods may be called from any thread, also inside an async task,
//! where they block the task's thread. The async forms do not block and work in any executor.

use crate::{
    client::{Client, ClientOptions},
    pull::{PullOptions, PullPlan, PullReport, PullSource, keeps_blobs},
    push::{PushOptions, PushReport},
    repository::Repository,
    runtime::Network,
    store::RegistryStore,
};
use imgdelta::Session;
use imgdelta_apply::delta::Delta;
use imgdelta_core::{Error, Limits, Result, scratch::Scratch};
use imgdelta_image::{
    Reference,
    image::{self, Image, OpenOptions, Platform},
    reference::{ImageName, RegistryReference},
    store::{self, Store},
};
use std::sync::Arc;

/// Access to registries, with network threads of its own. Cloning is cheap.
///
/// ```no_run
/// use imgdelta::Session;
/// use imgdelta_registry::{ClientOptions, PullOptions, Registries};
///
/// # fn main() -> imgdelta::Result<()> {
/// let registries = Registries::new(ClientOptions::default())?;
/// let session = registries.attach(Session::new("/var/tmp")?);
/// let report = registries.pull(
///     &session,
///     &"docker://registry.example/app:1.1".parse()?,
///     &["oci:node:1.0".parse()?],
///     &"oci:node:1.1".parse()?,
///     &PullOptions::default(),
/// )?;
/// println!("{report}");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Registries {
    client: Client,
    network: Network,
}

impl Registries {
    /// Makes a client and starts its threads. Sends nothing.
    pub fn new(options: ClientOptions) -> Result<Self> {
        let network = Network::start().map_err(Error::io("threads for the network"))?;
        Ok(Self { client: Client::new(options), network })
    }

    /// Returns the client, for requests that this type does not have.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns a session that also opens images in registries. Blobs that were downloaded completely
    /// are cached in the session's scratch directory while their store is open.
    #[must_use]
    pub fn attach(&self, session: Session) -> Session {
        let scratch = session.context().scratch.clone();
        self.attach_with(session, Some(scratch))
    }

    /// Returns a session that also opens images in registries, and caches no blob: for work that
    /// reads each layer once.
    #[must_use]
    pub fn attach_without_scratch(&self, session: Session) -> Session {
        self.attach_with(session, None)
    }

    fn attach_with(&self, session: Session, scratch: Option<Scratch>) -> Session {
        let registries = self.clone();
        session.stores(move |reference, limits| registries.open(reference, limits, scratch.clone()))
    }

    /// Opens the store that a reference names, and returns the image's name in it.
    fn open(
        &self,
        reference: &Reference,
        limits: &Limits,
        scratch: Option<Scratch>,
    ) -> Result<(Arc<dyn Store>, Option<ImageName>)> {
        let Reference::Registry(reference) = reference else {
            return store::open(reference, limits);
        };
        Ok(RegistryStore::open_with(&self.client, reference, self.network.clone(), scratch))
    }

    /// Decides the source of each layer. Downloads documents and fronts only. Blocks.
    pub fn plan_pull(
        &self,
        session: &Session,
        source: &Reference,
        base: &[Reference],
        output: &Reference,
        options: &PullOptions,
    ) -> Result<PullPlan> {
        let context = session.context();
        let reference = registry_reference(source)?;
        let open = |platform: Option<Platform>| {
            OpenOptions::default().limits(context.limits.clone()).platform(platform)
        };
        // A layout keeps blobs itself; for other destinations a cache keeps them until all are there.
        let cache = (!keeps_blobs(output)).then(|| context.scratch.clone());
        let source = PullSource::open(
            &self.client,
            reference,
            self.network.clone(),
            &open(session.requested_platform().cloned()),
            cache,
        )?;
        let open_base = |reference: &Reference| match reference {
            Reference::Registry(_) => {
                let what = "a base must be on this machine, not in a registry; name an oci:, \
                            oci-archive: or docker-archive: image";
                Err(Error::bad_input(reference, what))
            }
            reference => match image::open(reference, &open(Some(source.platform().clone()))) {
                // An image for another platform still serves as base if it has the streams.
                Err(Error::NotFound { .. }) => image::open(reference, &open(None)),
                outcome => outcome,
            },
        };
        let base = base.iter().map(open_base).collect::<Result<Vec<Image>>>()?;
        PullPlan::new(source, base, output, options.clone(), context)
    }

    /// Pulls an image from the cheapest source of each layer. Blocks.
    pub fn pull(
        &self,
        session: &Session,
        source: &Reference,
        base: &[Reference],
        output: &Reference,
        options: &PullOptions,
    ) -> Result<PullReport> {
        self.plan_pull(session, source, base, output, options)?.carry_out()
    }

    /// Pulls an image from the cheapest source of each layer.
    ///
    /// Dropping the future does not stop the pull; the session's progress can cancel it.
    pub async fn pull_async(
        &self,
        session: &Session,
        source: &Reference,
        base: &[Reference],
        output: &Reference,
        options: &PullOptions,
    ) -> Result<PullReport> {
        let (registries, session, source) = (self.clone(), session.clone(), source.clone());
        let (base, output, options) = (base.to_vec(), output.clone(), options.clone());
        let pull = move || registries.pull(&session, &source, &base, &output, &options);
        self.network.run_blocking(pull).await
    }

    /// Pushes a delta into the repository of its target. Blocks.
    pub fn push(
        &self,
        delta: &Delta,
        target: &Reference,
        options: &PushOptions,
    ) -> Result<PushReport> {
        let repository = self.push_repository(delta, target)?;
        let (delta, options) = (delta.clone(), options.clone());
        Ok(self.network.wait(async move { repository.push(&delta, &options).await })?)
    }

    /// Pushes a delta into the repository of its target. Dropping the future stops the push.
    pub async fn push_async(
        &self,
        delta: &Delta,
        target: &Reference,
        options: &PushOptions,
    ) -> Result<PushReport> {
        let repository = self.push_repository(delta, target)?;
        let (delta, options) = (delta.clone(), options.clone());
        Ok(self.network.run(async move { repository.push(&delta, &options).await }).await?)
    }

    fn push_repository(&self, delta: &Delta, target: &Reference) -> Result<Repository> {
        let reference = registry_reference(target)?;
        if reference.digest.is_some_and(|digest| digest != delta.digest()) {
            let what = format!("the delta makes another image, {}", delta.digest());
            return Err(Error::bad_input(target, what));
        }
        Ok(Repository::of(&self.client, reference))
    }
}

/// Returns registry, repository and name of a reference. Fails for other places.
fn registry_reference(reference: &Reference) -> Result<&RegistryReference> {
    match reference {
        Reference::Registry(reference) => Ok(reference),
        other => {
            let what = "not in a registry; write docker://HOST[:PORT]/REPOSITORY[:TAG]";
            Err(Error::bad_input(other, what))
        }
    }
}
