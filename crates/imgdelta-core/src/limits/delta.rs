//! Ceilings for the parts of a delta, each with the limit that it follows from.
//!
//! The format checks them and knows no names of the command line; an error gets its name here.

use super::{Ceiling, LimitName, Limits};
use crate::Error;
use imgdelta_format::{FormatError, ReadLimitName, ReadLimits};
use std::fmt;

/// Ceilings for the parts of a delta.
#[derive(Clone, Debug)]
pub struct DeltaLimits {
    read: ReadLimits,
    /// The limits that a user may raise, by the ceilings that they set.
    names: Vec<(ReadLimitName, LimitName)>,
}

impl Limits {
    /// Returns the ceilings for the parts of a delta.
    pub fn of_deltas(&self) -> DeltaLimits {
        use ReadLimitName as Part;
        let mut limits = DeltaLimits { read: ReadLimits::default(), names: Vec::new() };
        let fixed = limits.read.clone();
        let fixed = |part| Ceiling::fixed(fixed.value(part));
        let named = |name| self.ceiling(name);
        // A recipe's tables take this many bytes of memory for each item.
        let memory = |bytes: u64| Ceiling {
            name: Some(LimitName::RecipeMemory),
            value: self.recipe_memory / bytes,
        };
        // The outline carries both documents.
        let documents = self.manifest_bytes.saturating_add(self.config_bytes);
        let larger = if self.manifest_bytes > self.config_bytes {
            LimitName::ManifestBytes
        } else {
            LimitName::ConfigBytes
        };
        let documents = Ceiling { name: Some(larger), value: documents };
        for (part, ceiling) in [
            (Part::Layers, named(LimitName::Layers)),
            (Part::Sources, named(LimitName::Layers)),
            (Part::OutlineBytes, fixed(Part::OutlineBytes).or_higher(documents)),
            (Part::RecipeBytes, named(LimitName::RecipeBytes).or_lower(memory(1))),
            (Part::ColumnBytes, fixed(Part::ColumnBytes).or_lower(memory(1))),
            (Part::Payloads, named(LimitName::LayerEntries).or_lower(memory(64))),
            (Part::Members, named(LimitName::RecipeMembers).or_lower(memory(128))),
            (Part::Slices, fixed(Part::Slices).or_lower(memory(32))),
        ] {
            limits.read.set(part, ceiling.value);
            limits.names.extend(ceiling.name.map(|name| (part, name)));
        }
        limits
    }
}

impl Ceiling {
    fn or_lower(self, other: Self) -> Self {
        if other.value < self.value { other } else { self }
    }

    fn or_higher(self, other: Self) -> Self {
        if other.value > self.value { other } else { self }
    }
}

impl DeltaLimits {
    /// Returns the ceilings as the format reads them.
    pub fn read(&self) -> &ReadLimits {
        &self.read
    }

    /// Returns one of the ceilings, with the limit that it follows from.
    pub fn ceiling(&self, part: ReadLimitName) -> Ceiling {
        let name = self.names.iter().find(|(named, _)| *named == part).map(|(_, name)| *name);
        Ceiling { name, value: self.read.value(part) }
    }

    /// Adds the place in the delta, and the limit to raise, to an error of the format.
    pub fn error(&self, place: impl fmt::Display, error: &FormatError) -> Error {
        match *error {
            FormatError::TooLarge { name, what, limit, found } => {
                let name = name.and_then(|part| self.ceiling(part).name);
                Error::OverLimit { place: place.to_string(), what, name, found, limit }
            }
            FormatError::Malformed { .. } => Error::bad_input(place, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ceiling_of_a_delta_names_the_limit_that_lifts_it() {
        use ReadLimitName as Part;
        for (name, low, high, parts) in [
            (LimitName::Layers, 3, 5000, &[Part::Layers, Part::Sources][..]),
            (LimitName::RecipeBytes, 3, 300 << 20, &[Part::RecipeBytes]),
            (LimitName::LayerEntries, 3, 5_000_000, &[Part::Payloads]),
            (LimitName::RecipeMembers, 3, 3_000_000, &[Part::Members]),
            (
                LimitName::RecipeMemory,
                1000,
                1 << 30,
                &[
                    Part::RecipeBytes,
                    Part::ColumnBytes,
                    Part::Payloads,
                    Part::Members,
                    Part::Slices,
                ],
            ),
            (LimitName::ManifestBytes, 300 << 20, 400 << 20, &[Part::OutlineBytes]),
            (LimitName::ConfigBytes, 300 << 20, 400 << 20, &[Part::OutlineBytes]),
        ] {
            let of = |value| {
                let mut limits = Limits::default();
                limits.change(&format!("{name}={value}").parse().unwrap());
                limits.of_deltas()
            };
            let (few, many) = (of(low), of(high));
            for part in parts {
                let ceiling = few.ceiling(*part);
                assert_eq!(ceiling.name, Some(name), "{part:?}");
                assert!(many.ceiling(*part).value > ceiling.value, "{name} and {part:?}");
                let refused = FormatError::TooLarge {
                    name: Some(*part),
                    what: "parts",
                    limit: ceiling.value,
                    found: u64::MAX,
                };
                let error = few.error("delta x", &refused);
                let Error::OverLimit { name: found, .. } = error else { panic!("{error}") };
                assert_eq!(found, Some(name));
            }
        }
    }

    #[test]
    fn a_constant_of_the_format_has_no_name() {
        use ReadLimitName::{Layers, Members, Payloads, RecipeBytes, Sources};
        let limits = Limits::default().of_deltas();
        for part in ReadLimitName::ALL {
            let named = limits.ceiling(*part).name.is_some();
            let is_raised = matches!(part, Layers | Sources | RecipeBytes | Payloads | Members);
            assert_eq!(named, is_raised, "{part:?}");
        }
    }
}
