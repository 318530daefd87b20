//! Numbers as people read them.
//!
//! Exact first, human beside it: a rounded size cannot be checked against anything.

use std::fmt;

/// A count with its thousands set apart: `97,240,113`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grouped(pub u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut out = String::with_capacity(digits.len() + digits.len() / 3);
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                out.push(',');
            }
            out.push(digit);
        }
        f.pad_integral(true, "", &out)
    }
}

/// A size in decimal units with three figures: `97.2 MB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Human(pub u64);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut unit = 0;
        // Rounded before the unit is chosen, or 999,999 bytes would be "1000 kB".
        let mut scaled = u128::from(self.0) * 100;
        while (scaled + 50) / 100 >= 1000 && unit + 1 < UNITS.len() {
            scaled = (scaled + 500) / 1000;
            unit += 1;
        }
        let words = match (unit, scaled) {
            (0, _) => format!("{} B", self.0),
            (_, ..1000) => format!("{}.{:02} {}", scaled / 100, scaled % 100, UNITS[unit]),
            (_, ..10_000) => {
                let tenths = (scaled + 5) / 10;
                format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
            }
            _ => format!("{} {}", (scaled + 50) / 100, UNITS[unit]),
        };
        f.pad(&words)
    }
}

/// Both: `97,240,113 bytes (97.2 MB)`, or only the exact size where it is small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exact(pub u64);

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("1 byte"),
            0..10_000 => write!(f, "{} bytes", Grouped(self.0)),
            _ => write!(f, "{} bytes ({})", Grouped(self.0), Human(self.0)),
        }
    }
}

/// Decimal, as registries and disks count.
const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_round_to_three_figures_and_never_to_a_thousand() {
        for (bytes, words) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (9_995, "10.0 kB"),
            (97_240_113, "97.2 MB"),
            (999_499, "999 kB"),
            (999_999, "1.00 MB"),
            (256_000_000_000, "256 GB"),
        ] {
            assert_eq!(Human(bytes).to_string(), words);
        }
        assert_eq!(Human(u64::MAX).to_string(), "18447 PB");
    }

    #[test]
    fn exact_sizes_stand_beside_human_ones() {
        assert_eq!(Exact(97_240_113).to_string(), "97,240,113 bytes (97.2 MB)");
        assert_eq!(Exact(1).to_string(), "1 byte");
        assert_eq!(Exact(1234).to_string(), "1,234 bytes");
        assert_eq!(format!("{:>9}|{:<5}|", Grouped(12345), Grouped(0)), "   12,345|0    |");
    }
}
