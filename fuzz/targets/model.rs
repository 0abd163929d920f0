//! The model in a request body: it is replaced exactly where serde_json finds one, and no other byte changes.
//!
//! The input is the body.

#![no_main]

use std::{cell::RefCell, convert::Infallible, fmt, rc::Rc};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use libfuzzer_sys::fuzz_target;
use serde_core::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use tower::{Layer, ServiceExt, service_fn};
use tower_429::FallbackLayer;

const TARGET: &str = "the-fallback";

/// The longest text that counts as the name of a model.
const LONGEST: usize = 256;

fuzz_target!(|input: &[u8]| {
    let sent = sends(input);
    let expected = parse(input).and_then(|fields| {
        let mut models = fields.iter().filter(|(name, _)| name == "model");
        let last: String = serde_json::from_str(models.next_back()?.1.get()).ok()?;
        (last != TARGET && last.len() <= LONGEST).then_some(fields)
    });
    match (sent.as_slice(), expected) {
        ([first], None) => assert_eq!(first, input),
        ([first, second], Some(fields)) => {
            assert_eq!(first, input);
            let changed = parse(second);
            let changed = changed.unwrap_or_else(|| panic!("not JSON: {second:?}"));
            assert_eq!(fields.len(), changed.len());
            for ((name, before), (same_name, after)) in fields.iter().zip(&changed) {
                assert_eq!(name, same_name);
                match name.as_str() {
                    "model" => assert_eq!(after.get(), format!("\"{TARGET}\"")),
                    _ => assert_eq!(after.get(), before.get()),
                }
            }
            let of_models = |fields: &[(String, &RawValue)]| {
                let models = fields.iter().filter(|(name, _)| name == "model");
                models.map(|(_, value)| value.get().len()).sum::<usize>()
            };
            let expected = input.len() - of_models(&fields) + of_models(&changed);
            assert_eq!(
                second.len(),
                expected,
                "a byte outside of the values changed"
            );
        }
        (sent, expected) => panic!("{} sends, model found: {}", sent.len(), expected.is_some()),
    }
});

/// Returns the bodies that Fallback sends if the first request is rejected.
fn sends(body: &[u8]) -> Vec<Bytes> {
    let sent = Rc::new(RefCell::new(Vec::new()));
    let log = sent.clone();
    let provider = service_fn(move |request: Request<Full<Bytes>>| {
        let log = log.clone();
        async move {
            let body = http_body_util::BodyExt::collect(request.into_body()).await;
            let body = body.map(|body| body.to_bytes()).unwrap_or_default();
            log.borrow_mut().push(body);
            let mut response = Response::new(Full::<Bytes>::default());
            if log.borrow().len() == 1 {
                *response.status_mut() = http::StatusCode::TOO_MANY_REQUESTS;
            }
            Ok::<_, Infallible>(response)
        }
    });
    let client = FallbackLayer::new([TARGET]).layer(provider);
    let request = Request::post("https://api.example/v1/chat/completions")
        .header("content-type", "application/json")
        .body(Full::from(Bytes::copy_from_slice(body)));
    if let Ok(request) = request {
        // The layer may wait while it drains the empty response. The paused clock makes that wait free.
        RUNTIME.with(|runtime| {
            if let Some(runtime) = runtime {
                let _ = runtime.block_on(client.oneshot(request));
            }
        });
    }
    sent.take()
}

thread_local! {
    static RUNTIME: Option<tokio::runtime::Runtime> = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .ok();
}

/// Returns the fields of a JSON object, if nothing follows it.
fn parse(body: &[u8]) -> Option<Vec<(String, &RawValue)>> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let fields = json.deserialize_map(Fields).ok()?;
    json.end().ok()?;
    Some(fields)
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(fields)
    }
}
