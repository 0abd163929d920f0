//! Bodies that name a model, and bodies that do not.

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
            serde_json::from_str::<String>(values.last()?).ok().map(Arc::from)
        });
        proptest::prop_assert_eq!(read, whole);
    }
}

/// Returns the models of a body by another method: serde_json parses all members.
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
