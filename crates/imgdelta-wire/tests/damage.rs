//! Any value comes back; any damage is an error and never a panic.

use imgdelta_wire::{Cursor, MAX_PLACE, WireError, varint};
use proptest::prelude::*;

/// One value of a format.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Byte(u8),
    Fixed(u64),
    Unsigned(u64),
    Signed(i64),
    Text(Vec<u8>),
    Place(u64, u64),
}

impl Value {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Byte(byte) => out.push(*byte),
            Self::Fixed(value) => out.extend_from_slice(&value.to_le_bytes()),
            Self::Unsigned(value) => varint::write(out, *value),
            Self::Signed(value) => varint::write_signed(out, *value),
            Self::Text(text) => varint::write_prefixed(out, text),
            Self::Place(expected, place) => varint::write_place(out, *expected, *place),
        }
    }

    /// Reads a value of the same kind.
    fn read(&self, cursor: &mut Cursor<'_>) -> Result<Self, WireError> {
        Ok(match self {
            Self::Byte(_) => Self::Byte(cursor.u8()?),
            Self::Fixed(_) => Self::Fixed(cursor.u64_le()?),
            Self::Unsigned(_) => Self::Unsigned(cursor.varint()?),
            Self::Signed(_) => Self::Signed(cursor.signed()?),
            Self::Text(_) => Self::Text(cursor.prefixed()?.to_vec()),
            Self::Place(expected, _) => Self::Place(*expected, cursor.place_near(*expected)?),
        })
    }
}

/// Integers of every length, the short ones more often.
fn integer() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(value, shift)| value >> shift)
}

fn value() -> impl Strategy<Value = Value> {
    let place = || integer().prop_map(|place| place & MAX_PLACE);
    prop_oneof![
        any::<u8>().prop_map(Value::Byte),
        integer().prop_map(Value::Fixed),
        integer().prop_map(Value::Unsigned),
        integer().prop_map(|value| Value::Signed(varint::unzigzag(value))),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Value::Text),
        (place(), place()).prop_map(|(expected, place)| Value::Place(expected, place)),
    ]
}

fn read_all(like: &[Value], bytes: &[u8]) -> Result<Vec<Value>, WireError> {
    let mut cursor = Cursor::new(bytes);
    let values = like.iter().map(|value| value.read(&mut cursor)).collect::<Result<_, _>>()?;
    cursor.finish()?;
    Ok(values)
}

proptest! {
    #[test]
    fn values_come_back_and_every_cut_is_an_error(
        values in prop::collection::vec(value(), 0..12),
    ) {
        let mut bytes = Vec::new();
        for value in &values {
            value.write(&mut bytes);
        }
        prop_assert_eq!(read_all(&values, &bytes).unwrap(), values.clone());
        for len in 0..bytes.len() {
            let error = read_all(&values, &bytes[..len]).unwrap_err();
            prop_assert!(matches!(error, WireError::Truncated { .. }), "cut at {len}: {error}");
            prop_assert!(error.at() <= len as u64);
        }
        bytes.push(0);
        let left = WireError::TrailingBytes { at: bytes.len() as u64 - 1, left: 1 };
        prop_assert_eq!(read_all(&values, &bytes), Err(left));
    }

    #[test]
    fn whatever_reads_is_what_a_writer_writes(
        like in prop::collection::vec(value(), 1..8),
        bytes in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        if let Ok(values) = read_all(&like, &bytes) {
            let mut again = Vec::new();
            for value in &values {
                value.write(&mut again);
            }
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn an_integer_is_read_or_refused_with_lengths_that_add_up(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0x80), Just(0)], 0..14),
    ) {
        let mut cursor = Cursor::new(&bytes);
        match cursor.varint() {
            Ok(value) => {
                let mut out = Vec::new();
                varint::write(&mut out, value);
                prop_assert!(bytes.starts_with(&out));
                prop_assert_eq!(cursor.at(), out.len() as u64);
            }
            Err(WireError::Truncated { at: 0, needed, left }) => {
                prop_assert_eq!(left, bytes.len() as u64);
                prop_assert_eq!(needed, left + 1);
            }
            Err(WireError::Overlong { at: 0, most, found }) => {
                prop_assert!(1 <= most && most < found && found <= 11);
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
}
