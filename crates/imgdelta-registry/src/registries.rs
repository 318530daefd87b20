//! The short path to registries: one value that opens, pulls and pushes.
//!
//! Each operation has a blocking and an async form. The blocking one may be called from any thread;
//! inside an async task use the async one, or the task's thread stands still meanwhile.

use crate::{
    client::{Client, ClientOptions},
    pull::{PullOptions, PullPlan, PullSource, Pulled, keeps_blobs},
    push::{PushOptions, Pushed, push},
    repository::Repository,
    store::RegistryStore,
    wait::wait,
};
use imgdelta::Session;
use imgdelta_apply::delta::Delta;
use imgdelta_core::{Error, Limits, Result, scratch::Scratch};
use imgdelta_image::{
    Reference,
    image::{Image, OpenOptions, Platform},
    reference::{ImageName, RegistryReference},
    store::{self, Store},
};
use std::sync::Arc;
use tokio::runtime::{Builder, Handle, Runtime};

/// A client for registries with threads of its own. Cloning is cheap.
///
/// ```no_run
/// use imgdelta::Session;
/// use imgdelta_registry::{ClientOptions, Registries, pull::PullOptions};
///
/// # fn main() -> imgdelta::Result<()> {
/// let registries = Registries::new(ClientOptions::default())?;
/// let session = registries.attach(Session::new("/var/tmp")?);
/// let base = "oci:node:1.0".parse()?;
/// let pulled = registries.pull(
///     &session,
///     &"docker://registry.example/app:1.1".parse()?,
///     &[base],
///     &"oci:node:1.1".parse()?,
///     &PullOptions::default(),
/// )?;
/// println!("{pulled}");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Registries {
    client: Client,
    network: Arc<Network>,
}

/// Threads for the network.
#[derive(Debug)]
struct Network(Option<Runtime>);

impl Drop for Network {
    fn drop(&mut self) {
        // A runtime that is dropped inside a task panics; this one does not wait.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Registries {
    /// Makes a client and starts its threads; nothing is sent.
    pub fn new(options: ClientOptions) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(NETWORK_THREADS)
            .enable_all()
            .build()
            .map_err(Error::io("threads for the network"))?;
        Ok(Self { client: Client::new(options), network: Arc::new(Network(Some(runtime))) })
    }

    /// Returns the client, for requests that this type has no method for.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns a session that opens images in registries, too. Blobs that were fetched completely
    /// are kept in the session's scratch directory while their store is open.
    pub fn attach(&self, session: Session) -> Session {
        let scratch = session.context().scratch.clone();
        self.attach_with(session, Some(scratch))
    }

    /// Returns a session that opens images in registries, too, and keeps no blob: for work that
    /// reads each layer once.
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
        Ok(RegistryStore::open(&self.client, reference, self.handle(), scratch))
    }

    /// Decides how each layer of an image is pulled, and fetches nothing but documents.
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
        // A layout keeps blobs itself; for other places they are kept until all are there.
        let kept = (!keeps_blobs(output)).then(|| context.scratch.clone());
        let platform = session.platform_or_default();
        let source =
            PullSource::open(&self.client, reference, self.handle(), &open(platform), kept)?;
        let open_base = |reference: &Reference| match reference {
            Reference::Registry(_) => Err(Error::bad_input(
                reference,
                "a base must be an image on this machine, not in a registry",
            )),
            reference => match open_local(reference, &open(Some(source.platform().clone()))) {
                // An image for another platform still serves as base if it has the streams.
                Err(Error::NotFound { .. }) => open_local(reference, &open(None)),
                outcome => outcome,
            },
        };
        let base = base.iter().map(open_base).collect::<Result<Vec<_>>>()?;
        PullPlan::new(source, base, output, options.clone(), context)
    }

    /// Fetches an image by whatever is cheapest for each layer. Blocks.
    pub fn pull(
        &self,
        session: &Session,
        source: &Reference,
        base: &[Reference],
        output: &Reference,
        options: &PullOptions,
    ) -> Result<Pulled> {
        self.plan_pull(session, source, base, output, options)?.carry_out()
    }

    /// Fetches an image by whatever is cheapest for each layer, without blocking the task.
    ///
    /// Dropping the future does not stop the work; cancel it through the session's progress.
    pub async fn pull_async(
        &self,
        session: &Session,
        source: &Reference,
        base: &[Reference],
        output: &Reference,
        options: &PullOptions,
    ) -> Result<Pulled> {
        let (registries, session, source) = (self.clone(), session.clone(), source.clone());
        let (base, output, options) = (base.to_vec(), output.clone(), options.clone());
        let work = tokio::task::spawn_blocking(move || {
            registries.pull(&session, &source, &base, &output, &options)
        });
        match work.await {
            Ok(outcome) => outcome,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Pushes a delta into the repository that holds its target. Blocks.
    pub fn push(&self, delta: &Delta, target: &Reference, options: &PushOptions) -> Result<Pushed> {
        let (registries, delta) = (self.clone(), delta.clone());
        let (target, options) = (target.clone(), options.clone());
        wait(&self.handle(), async move { registries.push_async(&delta, &target, &options).await })
    }

    /// Pushes a delta into the repository that holds its target.
    pub async fn push_async(
        &self,
        delta: &Delta,
        target: &Reference,
        options: &PushOptions,
    ) -> Result<Pushed> {
        let reference = registry_reference(target)?;
        if reference.digest.is_some_and(|digest| digest != delta.digest()) {
            let what = format!("the delta makes {}, another image", delta.digest());
            return Err(Error::bad_input(target, what));
        }
        let repository = Repository::of(&self.client, reference);
        Ok(push(&repository, delta, delta.source(), options).await?)
    }

    fn handle(&self) -> Handle {
        let runtime = self.network.0.as_ref();
        runtime.expect("the runtime is taken only when the last clone is dropped").handle().clone()
    }
}

fn open_local(reference: &Reference, options: &OpenOptions) -> Result<Image> {
    imgdelta_image::image::open(reference, options)
}

/// Returns the registry, repository and name of a reference; fails for other places.
fn registry_reference(reference: &Reference) -> Result<&RegistryReference> {
    match reference {
        Reference::Registry(reference) => Ok(reference),
        other => {
            let what = "not in a registry: name it as docker://HOST[:PORT]/REPO[:TAG]";
            Err(Error::bad_input(other, what))
        }
    }
}

/// Transfers wait more than they work.
const NETWORK_THREADS: usize = 2;
