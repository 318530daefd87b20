//! Panics as events of the log.
//!
//! Changes only how they are reported: a panic ends its thread or task as before.

/// Reports panics of this process in the log. The standard library's own report is no line of a log in
/// JSON.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let panic = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or_default();
        tracing::error!(place, panic, "a part of the program failed");
    }));
}
