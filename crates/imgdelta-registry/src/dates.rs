//! Dates of images, which configs have in the form of RFC 3339.
//!
//! Compares them, and knows no clock.

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Returns the nanoseconds from 1970 to a date, or `None` if the text is not one.
pub fn nanoseconds(date: &str) -> Option<i128> {
    Some(OffsetDateTime::parse(date, &Rfc3339).ok()?.unix_timestamp_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_compare_across_time_zones_and_fractions() {
        assert_eq!(nanoseconds("1970-01-01T00:00:01Z"), Some(1_000_000_000));
        assert_eq!(nanoseconds("1969-12-31T23:59:59.5Z"), Some(-500_000_000));
        let [here, there] =
            ["2024-05-01T12:00:00.123456789Z", "2024-05-01T14:00:00.123456789+02:00"];
        assert_eq!(nanoseconds(here), nanoseconds(there));
        for wrong in ["", "2024-05-01", "2024-05-01T12:00:00", "2024-13-01T12:00:00Z", "today"] {
            assert_eq!(nanoseconds(wrong), None, "{wrong}");
        }
    }
}
