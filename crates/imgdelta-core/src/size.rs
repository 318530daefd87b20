//! Numbers as people read them.
//!
//! The exact number comes first: a rounded size cannot be checked against anything.

use std::{fmt, time::Duration};

/// A count with separated thousands: `97,240,113`.
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
        if self.0 < 1000 {
            return f.pad(&format!("{} B", self.0));
        }
        let mut divisor = 1000u128;
        for unit in &UNITS[1..] {
            // As many decimals as leave three figures after rounding; none left: the next unit.
            for (decimals, scale) in [(2, 100), (1, 10), (0, 1)] {
                let rounded = (u128::from(self.0) * scale + divisor / 2) / divisor;
                if rounded < 1000 {
                    let (whole, fraction) = (rounded / scale, rounded % scale);
                    return f.pad(&match decimals {
                        0 => format!("{whole} {unit}"),
                        _ => format!("{whole}.{fraction:0decimals$} {unit}"),
                    });
                }
            }
            divisor *= 1000;
        }
        unreachable!("2^64 bytes are 18 EB")
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

/// An estimate of work: `about 54 s of one core`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreTime(pub Duration);

impl fmt::Display for CoreTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis().div_ceil(500) / 2 {
            0 => f.write_str("less than 1 s of one core"),
            seconds => write!(f, "about {seconds} s of one core"),
        }
    }
}

/// Decimal, as registries and disks count.
const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];

/// Seconds and nanoseconds as UTC, `2024-02-29T12:00:00Z`, with the fraction where there is one.
pub fn time_in_words((seconds, nanos): (i64, u32)) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Howard Hinnant's civil-from-days: years begin in March, so that the leap day comes last.
    let shifted = i128::from(days) + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i128::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let fraction = match nanos {
        0 => String::new(),
        nanos => format!(".{nanos:09}").trim_end_matches('0').to_owned(),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

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
        assert_eq!(Human(u64::MAX).to_string(), "18.4 EB");
    }

    #[test]
    fn exact_sizes_stand_beside_human_ones() {
        assert_eq!(Exact(97_240_113).to_string(), "97,240,113 bytes (97.2 MB)");
        assert_eq!(Exact(1).to_string(), "1 byte");
        assert_eq!(Exact(1234).to_string(), "1,234 bytes");
        assert_eq!(format!("{:>9}|{:<5}|", Grouped(12345), Grouped(0)), "   12,345|0    |");
    }

    #[test]
    fn times_are_told_in_utc() {
        for (time, words) in [
            ((0, 0), "1970-01-01T00:00:00Z"),
            ((951_827_696, 0), "2000-02-29T12:34:56Z"),
            ((-1, 500_000_000), "1969-12-31T23:59:59.5Z"),
            ((-62_135_596_800, 0), "0001-01-01T00:00:00Z"),
            ((4_107_542_400, 1), "2100-03-01T00:00:00.000000001Z"),
        ] {
            assert_eq!(time_in_words(time), words);
        }
        time_in_words((i64::MIN, 0));
        time_in_words((i64::MAX, u32::MAX));
    }
}
