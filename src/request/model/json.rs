//! The model in a JSON body: only the value of the top-level `"model"` is replaced.

use std::{
    fmt,
    ops::{ControlFlow, Range},
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use memchr::memmem::Finder;
use serde_core::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::name::MAX_NAME_LENGTH;

/// A JSON object that names a model.
#[derive(Clone, Debug)]
pub(crate) struct BodyModel {
    pub(super) model: Arc<str>,
    body: Bytes,
    /// The positions of the values of `"model"` before the last one. All values are replaced, because parsers
    /// differ in which one they use.
    earlier: Vec<Range<usize>>,
    last: Range<usize>,
    /// Whether the body is known to be JSON to its end.
    verified: bool,
}

// === impl BodyModel ===

impl BodyModel {
    /// Returns `None` if the body is not a JSON object with a string named `"model"`.
    ///
    /// If no other model can follow, the rest is not parsed, because conversations are long and most are
    /// sent unchanged. [`verify`](Self::verify) parses it before a model is changed.
    pub(super) fn read(body: &Bytes) -> Option<Self> {
        let first = first_model(body)?;
        let value = position(first, body);
        let rest = &body[value.end..];
        let model = match without_escapes(first) {
            Some(model) if !may_name_another(rest) => model,
            _ => return Self::read_to_end(body),
        };
        let is_object = rest.trim_ascii_end().ends_with(b"}");
        (is_object && model.len() <= MAX_NAME_LENGTH).then(|| Self {
            model: model.into(),
            body: body.clone(),
            earlier: Vec::new(),
            last: value,
            verified: false,
        })
    }

    fn read_to_end(body: &Bytes) -> Option<Self> {
        let values = all_models(body)?;
        let (last, earlier) = values.split_last()?;
        let model: String = serde_json::from_str(last).ok()?;
        let earlier = earlier.iter().map(|value| position(value, body));
        (model.len() <= MAX_NAME_LENGTH).then(|| Self {
            model: model.into(),
            body: body.clone(),
            earlier: earlier.collect(),
            last: position(last, body),
            verified: true,
        })
    }

    pub(super) fn is_verified(&self) -> bool {
        self.verified
    }

    /// Whether the body is one JSON text in UTF-8 by RFC 8259. It is parsed to its end.
    pub(super) fn verify(&mut self) -> bool {
        let text = || std::str::from_utf8(&self.body).ok();
        let is_json = |text| serde_json::from_str::<IgnoredAny>(text).is_ok();
        self.verified = self.verified || text().is_some_and(is_json);
        self.verified
    }

    /// Returns the body with another model.
    pub(super) fn with(&self, model: &str) -> Bytes {
        let quoted = serde_json::Value::from(model).to_string();
        let added = quoted.len() * (self.earlier.len() + 1);
        let mut changed = Vec::with_capacity(self.body.len() + added);
        let mut kept = 0;
        for value in self.earlier.iter().chain([&self.last]) {
            changed.extend_from_slice(&self.body[kept..value.start]);
            changed.extend_from_slice(quoted.as_bytes());
            kept = value.end;
        }
        changed.extend_from_slice(&self.body[kept..]);
        changed.into()
    }
}

/// Returns the position of a part of the body.
fn position(part: &str, body: &[u8]) -> Range<usize> {
    let start = part.as_ptr() as usize - body.as_ptr() as usize;
    start..start + part.len()
}

/// Returns the first value of `"model"` as it is written; `None` if there is none.
fn first_model(body: &[u8]) -> Option<&str> {
    leading_model(body).or_else(|| parsed_model(body))
}

/// Returns the value of `"model"` if it is the first in the object and a string without escapes, as most
/// clients write it.
fn leading_model(body: &[u8]) -> Option<&str> {
    let rest = body.trim_ascii_start().strip_prefix(b"{")?;
    let rest = rest.trim_ascii_start().strip_prefix(b"\"model\"")?;
    let rest = rest.trim_ascii_start().strip_prefix(b":")?;
    let value = rest.trim_ascii_start();
    let content = value.strip_prefix(b"\"")?;
    let length = memchr::memchr2(b'"', b'\\', content)?;
    let is_plain = content[length] == b'"' && content[..length].iter().all(|byte| *byte >= b' ');
    let value = value.get(..length + 2).filter(|_| is_plain)?;
    std::str::from_utf8(value).ok()
}

fn parsed_model<'de>(body: &'de [u8]) -> Option<&'de str> {
    let mut first = None;
    let find = FindModels(|value: &'de RawValue| {
        first = Some(value.get());
        ControlFlow::Break(())
    });
    // The visitor stops early, which the parser reports as an error.
    let _ = serde_json::Deserializer::from_slice(body).deserialize_map(find);
    first
}

/// Returns the content of a JSON string, if it is a string without escapes.
fn without_escapes(value: &str) -> Option<&str> {
    let content = value.strip_prefix('"')?.strip_suffix('"')?;
    (!content.contains('\\')).then_some(content)
}

/// Whether another key `"model"` can follow, plain or with escapes. All its letters are between U+0060 and
/// U+006F, so each escape begins with `\u006`.
fn may_name_another(rest: &[u8]) -> bool {
    static PLAIN: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"\"model\""));
    let mut escapes = memchr::memchr_iter(b'\\', rest);
    PLAIN.find(rest).is_some() || escapes.any(|at| rest[at..].starts_with(b"\\u006"))
}

/// Returns all values of `"model"` as they are written, if the body is JSON to its end.
fn all_models<'de>(body: &'de [u8]) -> Option<Vec<&'de str>> {
    let mut models = Vec::new();
    let mut json = serde_json::Deserializer::from_str(std::str::from_utf8(body).ok()?);
    let find = FindModels(|value: &'de RawValue| {
        models.push(value.get());
        ControlFlow::Continue(())
    });
    json.deserialize_map(find).ok()?;
    json.end().ok()?;
    Some(models)
}

/// Passes the values of `"model"` to a function, until it returns `Break`.
struct FindModels<F>(F);

impl<'de, F: FnMut(&'de RawValue) -> ControlFlow<()>> Visitor<'de> for FindModels<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(is_model) = map.next_key_seed(IsModel)? {
            if !is_model {
                map.next_value::<IgnoredAny>()?;
            } else if self.0(map.next_value()?).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// Whether a key is `"model"`. The key is decoded first, because it may contain escapes.
struct IsModel;

impl<'de> DeserializeSeed<'de> for IsModel {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, key: D) -> Result<bool, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for IsModel {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == "model")
    }
}

#[cfg(test)]
mod tests;
