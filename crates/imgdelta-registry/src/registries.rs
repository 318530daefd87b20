//! Registries for a session: open images, pull, push.
//!
//! Holds no protocol. Blocking methods may be called from any thread, also inside an async task,
//! where they block the task's thread. The async forms do not block and work in any executor.

use crate::{
    client::{Client, ClientOptions},
    pull::{PullDestination, PullOptions, PullPlan, PullReport, PullSource},
    push::{PushOptions, PushReport},
    repository::Repository,
    runtime::Network,
    store::RegistryStore,
};
use hyper::header::HeaderValue;
use imgdelta::Session;
use imgdelta_apply::delta::Delta;
use imgdelta_core::{Error, Result, scratch::Scratch};
use imgdelta_image::{
    Reference,
    image::{self, Image, OpenOptions, Platform},
    reference::RegistryReference,
};

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

    /// Makes a client with other options, such as those of another registry, on the same threads.
    #[must_use]
    pub fn with_options(&self, options: ClientOptions) -> Self {
        Self { client: Client::new(options), network: self.network.clone() }
    }

    /// Returns the client, for requests that this type does not have.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the repository of a reference. Fails for references to other places.
    pub fn repository(&self, image: &Reference) -> Result<Repository> {
        Ok(Repository::of(&self.client, registry_reference(image)?))
    }

    /// Runs requests of the client or of a [`Repository`], and blocks until they end.
    pub fn wait<T: Send + 'static>(&self, requests: impl Future<Output = T> + Send + 'static) -> T {
        self.network.wait(requests)
    }

    /// Returns registries whose client sends this header in place of a login of its own; see
    /// [`Client::with_authorization`].
    #[must_use]
    pub fn with_authorization(&self, header: Option<HeaderValue>) -> Self {
        Self { client: self.client.with_authorization(header), network: self.network.clone() }
    }

    /// Returns a session that also opens images in registries; other images are opened as before.
    /// Blobs that were downloaded completely
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
        let (registries, others) = (self.clone(), session.store_opener());
        session.stores(move |reference, limits| match reference {
            Reference::Registry(reference) => {
                let network = registries.network.clone();
                let scratch = scratch.clone();
                Ok(RegistryStore::open_with(&registries.client, reference, network, scratch.into()))
            }
            reference => others(reference, limits),
        })
    }

    /// Decides the source of each layer. Downloads documents and fronts only. Blocks.
    pub fn plan_pull(
        &self,
        session: &Session,
        source: &Reference,
        base: &[Reference],
        output: impl Into<PullDestination>,
        options: &PullOptions,
    ) -> Result<PullPlan> {
        let limits = &session.context().limits;
        let open = |platform: Option<Platform>| {
            OpenOptions::default().limits(limits.clone()).platform(platform)
        };
        let stores = session.store_opener();
        let bases = |platform: &Platform| {
            let open_base = |reference: &Reference| match reference {
                Reference::Registry(_) => {
                    let what = "a base must be on this machine, not in a registry; name an oci:, \
                                oci-archive:, docker-archive:, containerd:, containers-storage:, \
                                docker-daemon: or rootfs: image";
                    Err(Error::bad_input(reference, what))
                }
                reference => {
                    match image::open_by(reference, &open(Some(platform.clone())), &*stores) {
                        // An image for another platform still serves as base if it has the streams.
                        Err(Error::NotFound { .. }) => {
                            image::open_by(reference, &open(None), &*stores)
                        }
                        outcome => outcome,
                    }
                }
            };
            base.iter().map(open_base).collect::<Result<Vec<Image>>>()
        };
        self.plan_pull_with(session, source, bases, output.into(), options)
    }

    /// Decides the source of each layer, with bases that are open, for any destination. Downloads
    /// documents and fronts only. Blocks.
    pub fn plan_pull_to(
        &self,
        session: &Session,
        source: &Reference,
        bases: Vec<Image>,
        output: PullDestination,
        options: &PullOptions,
    ) -> Result<PullPlan> {
        self.plan_pull_with(session, source, |_| Ok(bases), output, options)
    }

    fn plan_pull_with(
        &self,
        session: &Session,
        source: &Reference,
        bases: impl FnOnce(&Platform) -> Result<Vec<Image>>,
        output: PullDestination,
        options: &PullOptions,
    ) -> Result<PullPlan> {
        let context = session.context();
        let open = OpenOptions::default()
            .limits(context.limits.clone())
            .platform(session.requested_platform().cloned());
        let keeping = output.keeping(&context.scratch);
        let reference = registry_reference(source)?;
        let source =
            PullSource::open(&self.client, reference, self.network.clone(), &open, keeping)?;
        let bases = bases(source.platform())?;
        PullPlan::new(source, bases, output, options.clone(), context)
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
