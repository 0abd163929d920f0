//! The model in a JSON body: only the value of the top-level `"model"` is replaced.

use std::{
    fmt,
    ops::Range,
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use memchr::memmem::Finder;
use serde_core::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::MAX_NAME_LENGTH;

/// A JSON object that names a model.
#[derive(Clone, Debug)]
pub(crate) struct BodyModel {
    pub(super) model: Arc<str>,
    body: Bytes,
    /// The positions of the values of `"model"`, because parsers differ in which one they use.
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
        let FirstModel::Plain(model) = first_model(body)? else {
            return Self::read_to_end(body);
        };
        let Range { start, end } = position(model, body);
        let value = start - 1..end + 1;
        let rest = &body[value.end..];
        if may_name_another(rest) {
            return Self::read_to_end(body);
        }
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
        let model: String = serde_json::from_str(last.get()).ok()?;
        let earlier = earlier.iter().map(|value| position(value.get(), body));
        (model.len() <= MAX_NAME_LENGTH).then(|| Self {
            model: model.into(),
            body: body.clone(),
            earlier: earlier.collect(),
            last: position(last.get(), body),
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

/// The first value of `"model"`.
enum FirstModel<'de> {
    /// A string without escapes.
    Plain(&'de str),
    /// A string with escapes, or another value.
    Other,
}

/// Returns the first value of `"model"`; `None` if there is none.
fn first_model(body: &[u8]) -> Option<FirstModel<'_>> {
    let mut found = None;
    // The visitor stops early, which the parser reports as an error.
    let _ = serde_json::Deserializer::from_slice(body).deserialize_map(FindFirst(&mut found));
    found
}

/// Whether another key `"model"` can follow, plain or with escapes. All its letters are between
/// U+0060 and U+006F.
fn may_name_another(rest: &[u8]) -> bool {
    static PLAIN: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"\"model\""));
    let mut escapes = memchr::memchr_iter(b'\\', rest);
    PLAIN.find(rest).is_some() || escapes.any(|at| rest[at..].starts_with(b"\\u006"))
}

/// Returns all values of `"model"` as they are written, if the body is JSON to its end.
fn all_models(body: &[u8]) -> Option<Vec<&RawValue>> {
    let mut json = serde_json::Deserializer::from_str(std::str::from_utf8(body).ok()?);
    let values = json.deserialize_map(FindAll).ok()?;
    json.end().ok()?;
    Some(values)
}

struct FindFirst<'a, 'de>(&'a mut Option<FirstModel<'de>>);

impl<'de> Visitor<'de> for FindFirst<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(is_model) = map.next_key_seed(IsModel)? {
            if is_model {
                *self.0 = Some(FirstModel::Other);
                *self.0 = Some(map.next_value_seed(PlainString)?);
                return Ok(());
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// Deserializes a string and says whether it has escapes.
struct PlainString;

impl<'de> DeserializeSeed<'de> for PlainString {
    type Value = FirstModel<'de>;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<FirstModel<'de>, D::Error> {
        value.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for PlainString {
    type Value = FirstModel<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<FirstModel<'de>, E> {
        Ok(FirstModel::Plain(text))
    }

    fn visit_str<E>(self, _: &str) -> Result<FirstModel<'de>, E> {
        Ok(FirstModel::Other)
    }
}

/// Collects all values of `"model"`.
struct FindAll;

impl<'de> Visitor<'de> for FindAll {
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
mod tests {
    use super::*;

    fn swap(body: &str) -> Option<(String, String)> {
        let mut named = BodyModel::read(&Bytes::copy_from_slice(body.as_bytes()))?;
        if !named.verify() {
            return None;
        }
        let swapped = String::from_utf8(named.with("b\"1").to_vec()).unwrap();
        Some((named.model.to_string(), swapped))
    }

    #[test]
    fn with_changes_only_the_values_of_model() {
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
    fn bodies_without_a_model_are_not_rewritten() {
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
            r#"{"model":"a"}}"#,
            r#"{"model":"a" x}"#,
            r#"{"model":"a"}{"model":"a"}"#,
            r#"{"model":"a",}"#,
            r#"{"model":"a","n":01}"#,
            r#"{"model":"a","x":[}]}"#,
            "{\"model\":\"a\",\"x\":\"\n\"}",
            "\u{feff}{\"model\":\"a\"}",
            r#"{"Model":"a"}"#,
            r#"{"a":{"model":"b"}}"#,
            r#"{"model":"a","model":1}"#,
            &format!(r#"{{"model":"{}"}}"#, "m".repeat(MAX_NAME_LENGTH + 1)),
            "--boundary\r\n",
            &deep,
        ];
        for body in bodies {
            assert_eq!(swap(body), None, "{body}");
        }
        for body in [
            &b"{\"model\":\"\xff\"}"[..],
            b"{\"model\":\"a\",\"x\":{\"\xff\":1}}",
            b"{\"model\":\"a\",\"model\":\"b\",\"x\":{\"\xff\":1}}",
        ] {
            let named = BodyModel::read(&Bytes::from_static(body));
            assert!(named.is_none_or(|mut named| !named.verify()));
        }
    }

    /// Members of an object, with and without escapes, and with "model" where it is not a key of the object.
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
        fn early_search_finds_the_model_of_a_parse_to_the_end(
            members in proptest::collection::vec(proptest::sample::select(&MEMBERS[..]), 0..6)
        ) {
            let body = Bytes::from(format!("{{{}}}", members.join(",")));
            let read = BodyModel::read(&body).map(|named| named.model);
            let whole = all_models(&body).and_then(|values| {
                serde_json::from_str::<String>(values.last()?.get()).ok().map(Arc::from)
            });
            proptest::prop_assert_eq!(read, whole);
        }
    }

    /// Returns the models of a body in another way: serde_json parses all members.
    fn models(body: &[u8]) -> Option<Vec<String>> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Vec<String>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut models = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                    models.extend((key == "model").then(|| value.get().to_owned()));
                }
                Ok(models)
            }
        }

        std::str::from_utf8(body).ok()?;
        let mut json = serde_json::Deserializer::from_slice(body);
        let models = json.deserialize_map(Members).ok()?;
        json.end().ok()?;
        Some(models)
    }

    proptest::proptest! {
        #[test]
        fn body_is_rewritten_iff_serde_json_parses_an_object_with_a_model(
            members in proptest::collection::vec(proptest::sample::select(&MEMBERS[..]), 1..5),
            edits in proptest::collection::vec(
                (proptest::prelude::any::<proptest::sample::Index>(), 0_u8..4, proptest::sample::select(
                    &b"{}[]\":,\\ \n\x00\xff\xc3\xa90eu-."[..],
                )),
                0..3,
            ),
        ) {
            let mut body = format!("{{{}}}", members.join(",")).into_bytes();
            for (at, kind, byte) in edits {
                let at = at.index(body.len() + 1);
                match kind {
                    0 => body.insert(at, byte),
                    1 if at < body.len() => body[at] = byte,
                    2 if at < body.len() => drop(body.remove(at)),
                    _ => body.truncate(at.max(1)),
                }
            }
            let body = Bytes::from(body);
            let rewritten = BodyModel::read(&body)
                .and_then(|mut named| named.verify().then(|| named.with("new")));
            let models = models(&body).filter(|models| {
                models.last().is_some_and(|last| serde_json::from_str::<String>(last).is_ok())
            });
            proptest::prop_assert_eq!(rewritten.is_some(), models.is_some());
            if let (Some(rewritten), Some(old)) = (rewritten, models) {
                let new = self::models(&rewritten).unwrap();
                proptest::prop_assert!(new.iter().all(|model| model == "\"new\""));
                proptest::prop_assert_eq!(new.len(), old.len());
                let longer: usize = new.iter().map(String::len).sum();
                let shorter: usize = old.iter().map(String::len).sum();
                proptest::prop_assert_eq!(rewritten.len() + shorter, body.len() + longer);
                // With the old model again, the bytes are the same.
                if let [only] = &old[..] {
                    let only: String = serde_json::from_str(only).unwrap();
                    let back = BodyModel::read(&rewritten).unwrap().with(&only);
                    let plain = serde_json::Value::from(only.as_str()).to_string();
                    if plain == old[0] {
                        proptest::prop_assert_eq!(back, body);
                    }
                }
            }
        }
    }

    #[test]
    fn deeply_nested_member_does_not_overflow_the_stack() {
        let body = format!(
            r#"{{"a":{}{},"model":"m"}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        assert_eq!(swap(&body).unwrap().0, "m");
    }
}
