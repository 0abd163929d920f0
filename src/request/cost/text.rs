//! The length of the text in a JSON value, without data in base64.

use std::fmt;

use serde_core::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// The rule of thumb of the providers for English text.
///
/// Source: platform.openai.com/docs/guides/rate-limits, help.openai.com/en/articles/4936856.
pub(super) const BYTES_PER_TOKEN: u64 = 4;

/// A shorter string may be a word or a name, and hardly matters as data.
const MIN_BASE64: usize = 256;

/// A media type with its parameters is hardly longer.
const MAX_DATA_PREFIX: usize = 256;

/// Adds the length of one JSON value to a sum. The parser bounds the depth.
pub(super) struct TextLength<'a> {
    sum: &'a mut u64,
    /// How much a number, a boolean or a null counts.
    scalar: u64,
}

// === impl TextLength ===

impl<'a> TextLength<'a> {
    /// Reads a member of the body. Its scalars are settings such as the temperature, which the model does not
    /// read.
    pub(super) fn of_member(sum: &'a mut u64) -> Self {
        Self { sum, scalar: 0 }
    }

    /// Reads a value below the members. Its scalars are text, such as in a schema, or the ids of tokens.
    fn below(sum: &'a mut u64) -> Self {
        let scalar = BYTES_PER_TOKEN;
        Self { sum, scalar }
    }

    fn add(self, bytes: u64) {
        *self.sum = self.sum.saturating_add(bytes);
    }

    fn add_scalar(self) {
        let bytes = self.scalar;
        self.add(bytes);
    }
}

impl<'de> DeserializeSeed<'de> for TextLength<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TextLength<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.add_scalar();
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.add_scalar();
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.add_scalar();
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.add_scalar();
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.add_scalar();
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        if !is_data(text) {
            self.add(text.len() as u64);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq
            .next_element_seed(TextLength::below(self.sum))?
            .is_some()
        {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key_seed(TextLength::below(self.sum))?.is_some() {
            map.next_value_seed(TextLength::below(self.sum))?;
        }
        Ok(())
    }
}

/// Returns whether a string is data in base64, plain or as a data URL.
///
/// Of the plain ones, OpenAI has `input_audio.data`, Anthropic `source.data` and Gemini `inlineData.data`. No
/// name of a field is needed, because long text has spaces or marks.
fn is_data(text: &str) -> bool {
    if let Some(url) = text.strip_prefix("data:") {
        let prefix = &url.as_bytes()[..url.len().min(MAX_DATA_PREFIX)];
        return memchr::memmem::find(prefix, b";base64,").is_some();
    }
    // Both alphabets, and the padding. Source: RFC 4648, sections 4 and 5.
    let is_base64 =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=');
    text.len() > MIN_BASE64 && text.bytes().all(is_base64)
}
