//! The model in a JSON body: the value of the top-level `"model"`, and nothing else, is replaced.

use std::{fmt, ops::Range, sync::Arc};

use bytes::Bytes;
use serde_core::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A JSON object that names a model.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(super) model: Arc<str>,
    body: Bytes,
    /// Where the values of `"model"` stand; parsers differ in which of several they believe.
    values: Vec<Range<usize>>,
}

// === impl Named ===

impl Named {
    /// `None` if the body is not a JSON object with a string named `"model"`.
    pub(super) fn read(body: &Bytes) -> Option<Self> {
        let mut json = serde_json::Deserializer::from_slice(body);
        let values = json.deserialize_map(Models).ok()?;
        json.end().ok()?;
        let model: String = serde_json::from_str(values.last()?.get()).ok()?;
        let start = body.as_ptr() as usize;
        let range = |value: &&RawValue| {
            let at = value.get().as_ptr() as usize - start;
            at..at + value.get().len()
        };
        Some(Self {
            model: model.into(),
            values: values.iter().map(range).collect(),
            body: body.clone(),
        })
    }

    /// The body with another model.
    pub(super) fn with(&self, model: &str) -> Bytes {
        let quoted = serde_json::Value::from(model).to_string();
        let mut changed = Vec::with_capacity(self.body.len() + quoted.len() * self.values.len());
        let mut kept = 0;
        for value in &self.values {
            changed.extend_from_slice(&self.body[kept..value.start]);
            changed.extend_from_slice(quoted.as_bytes());
            kept = value.end;
        }
        changed.extend_from_slice(&self.body[kept..]);
        changed.into()
    }
}

/// Collects the values of `"model"` as they stand in the text.
struct Models;

impl<'de> Visitor<'de> for Models {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(is_model) = map.next_key_seed(IsModel)? {
            match is_model {
                true => values.push(map.next_value().map_err(A::Error::custom)?),
                false => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(values)
    }
}

/// Whether a key is `"model"`; it may be written with escapes, so it is not compared as bytes.
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
mod tests {
    use super::*;

    fn swap(body: &str) -> Option<(String, String)> {
        let named = Named::read(&Bytes::copy_from_slice(body.as_bytes()))?;
        let swapped = String::from_utf8(named.with("b\"1").to_vec()).unwrap();
        Some((named.model.to_string(), swapped))
    }

    #[test]
    fn only_the_value_changes() {
        let table = [
            (r#"{"model":"a"}"#, "a", r#"{"model":"b\"1"}"#),
            (
                " {\n\t\"n\" : 1e400, \"model\" :  \"a\" ,\"z\":0.10}\r\n",
                "a",
                " {\n\t\"n\" : 1e400, \"model\" :  \"b\\\"1\" ,\"z\":0.10}\r\n",
            ),
            (
                r#"{"mod\u0065l":"\u0061","x":{"model":"in"}}"#,
                "a",
                r#"{"mod\u0065l":"b\"1","x":{"model":"in"}}"#,
            ),
            (
                r#"{"model":"first","é":[{"model":"in"}],"model":"last"}"#,
                "last",
                r#"{"model":"b\"1","é":[{"model":"in"}],"model":"b\"1"}"#,
            ),
        ];
        for (body, model, swapped) in table {
            assert_eq!(swap(body), Some((model.into(), swapped.into())), "{body}");
        }
    }

    #[test]
    fn what_names_no_model_is_left_alone() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let bodies = [
            "",
            "null",
            "[]",
            r#"[{"model":"a"}]"#,
            r#"{"model":1}"#,
            r#"{"model":null}"#,
            r#"{"model":"a""#,
            r#"{"model":"a"} x"#,
            r#"{"Model":"a"}"#,
            r#"{"a":{"model":"b"}}"#,
            r#"{"model":"a","model":1}"#,
            "--boundary\r\n",
            &deep,
        ];
        for body in bodies {
            assert_eq!(swap(body), None, "{body}");
        }
        assert!(Named::read(&Bytes::from_static(b"{\"model\":\"\xff\"}")).is_none());
    }

    #[test]
    fn a_deeply_nested_neighbour_does_not_overflow_the_stack() {
        let body = format!(
            r#"{{"a":{}{},"model":"m"}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        assert_eq!(swap(&body).unwrap().0, "m");
    }
}
