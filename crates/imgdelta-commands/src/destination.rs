//! The destination of `apply` and `pull`: a place on this machine or in a registry.
//!
//! Writes nothing.

use imgdelta::{
    Reference, Result, Session,
    sink::{self, Sink},
};
use imgdelta_registry::{Registries, pull::PullDestination};
use imgdelta_remote::RegistrySink;

/// Checks a destination on this machine before any work.
pub fn check(output: &Reference, session: &Session) -> Result<()> {
    match output {
        Reference::Registry(_) => Ok(()),
        output => sink::check(output, session.context()),
    }
}

/// Opens the destination of one image.
pub fn sink(
    output: &Reference,
    registries: &Registries,
    session: &Session,
) -> Result<Box<dyn Sink>> {
    let context = session.context();
    match output {
        Reference::Registry(_) => {
            Ok(Box::new(RegistrySink::new(registries, output, &context.scratch)?))
        }
        output => sink::create(output, context),
    }
}

/// Returns the destination of a pull.
pub fn of_pull(output: &Reference, registries: &Registries, session: &Session) -> PullDestination {
    match output {
        Reference::Registry(_) => {
            let (registries, scratch) = (registries.clone(), session.context().scratch.clone());
            let output = output.clone();
            PullDestination::sink(output.to_string(), move || {
                Ok(Box::new(RegistrySink::new(&registries, &output, &scratch)?))
            })
        }
        output => output.into(),
    }
}
