//! Parts that services share: configuration values, connections, stopping, metrics.
//!
//! - [`setting`] has values of a TOML file, and places its mistakes.
//! - [`connections`] accepts connections within limits on number and time.
//! - [`Stop`] asks running work to end, in two steps.
//! - [`MetricsPage`] is a page in the text format of Prometheus.
//! - [`machine`] has facts about this machine.
//!
//! Knows no path, no registry and no image.

pub mod connections;
pub mod machine;
mod page;
pub mod setting;
mod stop;

pub use page::MetricsPage;
pub use stop::{Stop, StopPhase};
