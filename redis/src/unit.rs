//! The field of a limit and its unit: the id, and a digit for the unit.

use tower_429::share::{Id, Unit};

/// The units, in the order of their digits from 1 on. A digit is never used for another unit.
const UNITS: [Unit; COUNT as usize] = [
    Unit::Requests,
    Unit::Tokens,
    Unit::InputTokens,
    Unit::OutputTokens,
];

/// How many units there are.
pub(crate) const COUNT: u8 = 4;

pub(crate) type Field = [u8; 17];

/// Returns the field; `None` for a unit of a later release of the layers.
pub(crate) fn field(limit: Id, unit: Unit) -> Option<Field> {
    let digits = b'1'..;
    let (_, digit) = UNITS.iter().zip(digits).find(|(it, _)| **it == unit)?;
    let mut field = [digit; 17];
    field[..16].copy_from_slice(&limit.to_bytes());
    Some(field)
}

/// Returns the limit and the unit of a field.
pub(crate) fn read(field: &[u8]) -> Option<(Id, Unit)> {
    let (limit, [digit]) = field.split_first_chunk::<16>()? else {
        return None;
    };
    let index = digit.checked_sub(b'1')?;
    let unit = UNITS.get(usize::from(index))?;
    Some((Id::from_bytes(*limit), *unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_read_as_it_was_written() {
        let limit = Id::from_bytes([7; 16]);
        for unit in Unit::ALL {
            let field = field(limit, unit).expect("it has a digit");
            assert_eq!(read(&field), Some((limit, unit)));
        }
        for other in [&b""[..], &[7; 16], &[b'5'; 17], &[b'0'; 17], &[b'1'; 18]] {
            assert_eq!(read(other), None, "{other:?}");
        }
    }
}
