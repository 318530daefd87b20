//! Parts that services share: configuration values, connections, stopping, metrics.
//!
//! - [`setting`] has values of a TOML file, and places its mistakes.
//! - [`connections`] accepts connections within limits on number and time.
//! - [`Stop`] asks running work to end, in two steps.
//! - [`MetricsPage`] is a page in the text format of Prometheus; [`histogram`] has histograms for it.
//! - [`log_panics`] makes panics events of the log.
//! - [`machine`] has facts about this machine.
//!
//! Knows no path, no registry and no image.

pub mod connections;
pub mod histogram;
pub mod machine;
mod page;
mod panics;
pub mod setting;
mod stop;

pub use page::MetricsPage;
pub use panics::log_panics;
pub use stop::{Stop, StopPhase};
