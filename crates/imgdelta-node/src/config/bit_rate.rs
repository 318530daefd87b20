//! Rates of links in the configuration: bits per second, with a unit.
//!
//! Measures nothing.

use serde::Deserialize;

/// Bits per second, written as `20Mbit` or `1 Gbit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BitRate(pub u64);

impl BitRate {
    fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let number = text.strip_suffix("bit")?;
        let (number, unit) = match number.as_bytes().last()? {
            b'k' => (&number[..number.len() - 1], 1_000),
            b'm' => (&number[..number.len() - 1], 1_000_000),
            b'g' => (&number[..number.len() - 1], 1_000_000_000),
            _ => (number, 1),
        };
        number.trim().parse::<u64>().ok()?.checked_mul(unit).map(Self)
    }
}

impl<'de> Deserialize<'de> for BitRate {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom("not a rate: expected such as \"20Mbit\" or \"1Gbit\"")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_units() {
        assert_eq!(BitRate::parse("20Mbit"), Some(BitRate(20_000_000)));
        assert_eq!(BitRate::parse("1 gbit"), Some(BitRate(1_000_000_000)));
        assert_eq!(BitRate::parse("9600bit"), Some(BitRate(9600)));
        for text in ["", "bit", "Mbit", "-1Mbit", "20", "1.5Gbit", "99999999999999999999Gbit"] {
            assert_eq!(BitRate::parse(text), None, "{text}");
        }
    }
}
