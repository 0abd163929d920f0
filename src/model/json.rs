//! The model in a JSON body: the value of the top-level `"model"`, and nothing else, is replaced.

use std::{fmt, ops::Range, sync::Arc, sync::LazyLock};

use bytes::Bytes;
use memchr::memmem::Finder;
use serde_core::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A JSON object that names a model.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(super) model: Arc<str>,
    body: Bytes,
    /// Where the values of `"model"` stand; parsers differ in which of several they believe.
    earlier: Vec<Range<usize>>,
    last: Range<usize>,
}

// === impl Named ===

impl Named {
    /// `None` if the body is not a JSON object with a string named `"model"`.
    ///
    /// Behind the model it is not read as JSON where no other can be: whether the rest is sound is the
    /// provider's to say, and conversations are long.
    pub(super) fn read(body: &Bytes) -> Option<Self> {
        let start = body.as_ptr() as usize;
        let range = |value: &RawValue| {
            let at = value.get().as_ptr() as usize - start;
            at..at + value.get().len()
        };
        let first = first(body)?;
        let rest = &body[range(first).end..];
        let (earlier, last) = match may_name_another(rest) {
            true => {
                let mut values = all(body)?;
                let last = values.pop()?;
                (values, last)
            }
            false if rest.trim_ascii_end().ends_with(b"}") => (Vec::new(), first),
            false => return None,
        };
        Some(Self {
            model: text(last)?,
            earlier: earlier.into_iter().map(range).collect(),
            last: range(last),
            body: body.clone(),
        })
    }

    /// The body with another model.
    pub(super) fn with(&self, model: &str) -> Bytes {
        let quoted = serde_json::Value::from(model).to_string();
        let values = self.earlier.iter().chain([&self.last]);
        let added = quoted.len() * (self.earlier.len() + 1);
        let mut changed = Vec::with_capacity(self.body.len() + added);
        let mut kept = 0;
        for value in values {
            changed.extend_from_slice(&self.body[kept..value.start]);
            changed.extend_from_slice(quoted.as_bytes());
            kept = value.end;
        }
        changed.extend_from_slice(&self.body[kept..]);
        changed.into()
    }
}

/// The first value of `"model"` as it stands in the text.
fn first(body: &[u8]) -> Option<&RawValue> {
    let mut found = Vec::new();
    // That it ends before the object does is an error to the parser.
    let _ = serde_json::Deserializer::from_slice(body).deserialize_map(Models {
        found: &mut found,
        most: 1,
    });
    found.pop()
}

/// All values of `"model"`, if the body is JSON to its end.
fn all(body: &[u8]) -> Option<Vec<&RawValue>> {
    let mut found = Vec::new();
    let mut json = serde_json::Deserializer::from_slice(body);
    let models = Models {
        found: &mut found,
        most: usize::MAX,
    };
    json.deserialize_map(models).ok()?;
    json.end().ok()?;
    Some(found)
}

/// Whether there can be another key `"model"`, as it is or with one of its letters, all of which are
/// between U+0060 and U+006F, escaped.
fn may_name_another(rest: &[u8]) -> bool {
    static PLAIN: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"\"model\""));
    static ESCAPED: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"\\u006"));
    PLAIN.find(rest).is_some() || ESCAPED.find(rest).is_some()
}

/// What a string of JSON says; `None` if it is something else.
fn text(value: &RawValue) -> Option<Arc<str>> {
    let inner = value.get().strip_prefix('"')?.strip_suffix('"')?;
    match inner.contains('\\') {
        true => serde_json::from_str(value.get()).ok().map(String::into),
        false => Some(inner.into()),
    }
}

/// Collects values of `"model"` as they stand in the text.
struct Models<'a, 'de> {
    found: &'a mut Vec<&'de RawValue>,
    most: usize,
}

impl<'de> Visitor<'de> for Models<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while self.found.len() < self.most {
            match map.next_key_seed(IsModel)? {
                Some(true) => self.found.push(map.next_value().map_err(A::Error::custom)?),
                Some(false) => drop(map.next_value::<IgnoredAny>()?),
                None => break,
            }
        }
        Ok(())
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

    /// Members of an object: with and without escapes, and with the word where it is no key of the object.
    const MEMBERS: [&str; 9] = [
        r#""model":"a""#,
        r#""model" : "b\u0020c""#,
        r#""mod\u0065l":"d""#,
        r#""\u006Dodel":"e""#,
        r#""model":7"#,
        r#""x":"\"model\":\"in\"""#,
        r#""x":{"model":"in"}"#,
        r#""messages":[{"role":"model","content":"\n"}]"#,
        r#""\u0078":1e3"#,
    ];

    proptest::proptest! {
        #[test]
        fn what_is_found_early_is_what_a_parse_to_the_end_finds(
            members in proptest::collection::vec(proptest::sample::select(&MEMBERS[..]), 0..6)
        ) {
            let body = Bytes::from(format!("{{{}}}", members.join(",")));
            let read = Named::read(&body).map(|named| named.model);
            let whole = all(&body).and_then(|values| text(values.last()?));
            proptest::prop_assert_eq!(read, whole);
        }
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
