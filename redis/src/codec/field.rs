//! Fields with a tag and a length, so that a reader can skip unknown ones.

use std::time::Duration;

/// No duration that is read is longer.
pub(super) const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Writes fields: a tag, a length of two bytes, and the value.
#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

/// Reads fields.
pub(super) struct Reader<'a>(&'a [u8]);

/// A field that is too short, or has no valid value.
#[derive(Debug)]
pub(super) struct Broken;

pub(super) type Field<'a> = (u8, Value<'a>);

#[derive(Clone, Copy)]
pub(super) struct Value<'a>(pub(super) &'a [u8]);

// === impl Writer ===

impl Writer {
    pub(super) fn bytes(&mut self, tag: u8, value: &[u8]) {
        // A longer value does not fit into a fact, whose length is checked at the end.
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.0.push(tag);
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(value);
    }

    /// Writes a number without its leading zeros.
    pub(super) fn number(&mut self, tag: u8, value: u64) {
        let skipped = value.leading_zeros() as usize / 8;
        self.bytes(tag, &value.to_be_bytes()[skipped..]);
    }

    pub(super) fn numbers(&mut self, tag: u8, (first, second): (u64, u64)) {
        let both = [first.to_be_bytes(), second.to_be_bytes()];
        self.bytes(tag, both.as_flattened());
    }

    pub(super) fn optional(&mut self, tag: u8, value: Option<u64>) {
        if let Some(value) = value {
            self.number(tag, value);
        }
    }

    pub(super) fn time(&mut self, tag: u8, value: Duration) {
        self.number(tag, micros(value));
    }

    pub(super) fn age(&mut self, tag: u8, value: Duration) {
        self.number(tag, age_micros(value));
    }

    pub(super) fn flag(&mut self, tag: u8, value: Option<bool>) {
        self.optional(tag, value.map(u64::from));
    }
}

/// Returns the microseconds of an age, rounded down, so that nothing is older than it is.
pub(super) fn age_micros(age: Duration) -> u64 {
    u64::try_from(age.min(LONGEST).as_micros()).unwrap_or(u64::MAX)
}

/// Returns the microseconds that are left, rounded up, so that nothing ends too early.
pub(crate) fn micros(time: Duration) -> u64 {
    let micros = time.min(LONGEST).as_nanos().div_ceil(1_000);
    u64::try_from(micros).unwrap_or(u64::MAX)
}

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Field<'a>, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = split(self.0).ok_or(Broken);
        self.0 = field.as_ref().map_or(&[], |(_, rest)| rest);
        Some(field.map(|(field, _)| field))
    }
}

fn split(bytes: &[u8]) -> Option<(Field<'_>, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<3>()?;
    let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
    let (value, rest) = rest.split_at_checked(length)?;
    Some(((head[0], Value(value)), rest))
}

// === impl Value ===

impl Value<'_> {
    pub(super) fn number(self) -> Result<u64, Broken> {
        let mut bytes = [0; 8];
        let from = 8_usize.checked_sub(self.0.len()).ok_or(Broken)?;
        bytes[from..].copy_from_slice(self.0);
        Ok(u64::from_be_bytes(bytes))
    }

    pub(super) fn numbers(self) -> Result<(u64, u64), Broken> {
        let (first, second) = self.0.split_at_checked(8).ok_or(Broken)?;
        Ok((Value(first).number()?, Value(second).number()?))
    }

    pub(super) fn time(self) -> Result<Duration, Broken> {
        self.number().map(duration)
    }

    pub(super) fn flag(self) -> Result<bool, Broken> {
        self.number().map(|value| value != 0)
    }
}

/// Returns so many microseconds; at most a day, whatever is read.
pub(crate) fn duration(micros: u64) -> Duration {
    Duration::from_micros(micros).min(LONGEST)
}
