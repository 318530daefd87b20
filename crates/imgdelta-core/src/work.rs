//! A meter of work: an allowance, and charges for what a stranger's bytes ask for.
//! Never reads a clock: charges are estimates that follow from numbers in the bytes.
//!
//! A few bytes can ask for days of work: the same megabyte of base copied for each of a million
//! members, or a million compressed frames without content. So the work is added up from counts and
//! lengths, and compared with an allowance that is proportional to the bytes made and used. What the
//! numbers in front do not show is charged while it is done, before each step.

use crate::{Error, LimitName, Limits, Result, progress::Progress};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// An allowance of work, in estimated nanoseconds of one core. Several threads may charge it.
pub struct WorkMeter {
    /// Name in errors.
    place: String,
    allowed: u64,
    charged: AtomicU64,
    progress: Arc<dyn Progress>,
}

impl WorkMeter {
    /// Makes a meter for work that makes `made_bytes` bytes from `used_bytes` bytes.
    pub fn new(
        place: impl Into<String>,
        limits: &Limits,
        made_bytes: u64,
        used_bytes: u64,
        progress: Arc<dyn Progress>,
    ) -> Self {
        let bytes = made_bytes.saturating_add(used_bytes);
        let allowed = bytes.saturating_mul(limits.work_per_byte).saturating_add(limits.free_work);
        Self { place: place.into(), allowed, charged: AtomicU64::new(0), progress }
    }

    /// Makes a meter that admits everything, for bytes of our own and for work that is charged
    /// already. It still fails if the caller asked to stop.
    pub fn unlimited(progress: Arc<dyn Progress>) -> Self {
        Self { place: String::new(), allowed: u64::MAX, charged: AtomicU64::new(0), progress }
    }

    /// Charges work that is about to be done; fails if the allowance does not cover it, or if the
    /// caller asked to stop.
    pub fn charge(&self, nanoseconds: u64) -> Result<()> {
        self.progress.check()?;
        let add = |charged: u64| Some(charged.saturating_add(nanoseconds));
        let before = self.charged.fetch_update(Relaxed, Relaxed, add).unwrap_or(u64::MAX);
        let found = before.saturating_add(nanoseconds);
        if found <= self.allowed {
            return Ok(());
        }
        Err(Error::OverLimit {
            place: self.place.clone(),
            what: "work in nanoseconds",
            name: Some(LimitName::WorkPerByte),
            found,
            limit: self.allowed,
        })
    }

    /// Returns the work charged so far.
    pub fn charged(&self) -> u64 {
        self.charged.load(Relaxed)
    }

    /// Returns the allowance.
    pub fn allowed(&self) -> u64 {
        self.allowed
    }
}

impl fmt::Debug for WorkMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkMeter")
            .field("place", &self.place)
            .field("allowed", &self.allowed)
            .field("charged", &self.charged())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    #[test]
    fn the_allowance_is_proportional_to_the_bytes_and_names_its_limit() {
        let limits = Limits { work_per_byte: 100, free_work: 1000, ..Limits::default() };
        let meter = WorkMeter::new("delta", &limits, 20, 10, Arc::new(Silent));
        meter.charge(4000).unwrap();
        assert_eq!((meter.charged(), meter.allowed()), (4000, 4000));
        let refused = meter.charge(1).unwrap_err();
        let Error::OverLimit { name, found, limit, .. } = refused else { panic!("{refused}") };
        assert_eq!((name, found, limit), (Some(LimitName::WorkPerByte), 4001, 4000));
    }

    #[test]
    fn no_sum_of_charges_overflows() {
        let meter = WorkMeter::new("delta", &Limits::default(), 0, 0, Arc::new(Silent));
        for _ in 0..10 {
            assert!(meter.charge(u64::MAX).is_err());
        }
        assert!(meter.charge(1).is_err(), "a refused charge is not given back");
        let unlimited = WorkMeter::unlimited(Arc::new(Silent));
        unlimited.charge(u64::MAX).unwrap();
    }

    #[test]
    fn a_cancelled_task_is_charged_nothing() {
        struct Stop;
        impl Progress for Stop {
            fn is_cancelled(&self) -> bool {
                true
            }
        }
        let meter = WorkMeter::new("delta", &Limits::default(), 0, 0, Arc::new(Stop));
        assert!(matches!(meter.charge(1), Err(Error::Cancelled)));
        assert_eq!(meter.charged(), 0);
    }
}
