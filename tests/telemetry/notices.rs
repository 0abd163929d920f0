//! Warnings that are logged once and say what to do.

use std::sync::{Arc, Mutex};

use crate::script::*;
use crate::subscriber::subscribe;
use http::Request;
use tower::{Layer as _, ServiceBuilder, ServiceExt};
use tower_429::{BackoffLayer, InspectLayer, KeyPool, KeyRotationLayer, key_rotation::Key};
use tracing::{Level, Subscriber, field::Field, subscriber::DefaultGuard};
use tracing_subscriber::{Layer, layer, layer::SubscriberExt as _};

/// The warnings that do not belong to a single attempt, with their fields.
#[derive(Clone, Default)]
pub(crate) struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    pub(crate) fn collect() -> (Self, DefaultGuard) {
        let warnings = Self::default();
        let guard = subscribe(tracing_subscriber::registry().with(warnings.clone()));
        (warnings, guard)
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl<S: Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &tracing::Event<'_>, _: layer::Context<'_, S>) {
        let of_attempt = event.fields().any(|field| field.name() == "attempt");
        if *event.metadata().level() != Level::WARN || of_attempt {
            return;
        }
        let (mut message, mut fields) = (String::new(), String::new());
        event.record(
            &mut |field: &Field, value: &dyn std::fmt::Debug| match field.name() {
                "message" => message = format!("{value:?}"),
                name => fields += &format!(" {name}={value:?}"),
            },
        );
        self.0.lock().unwrap().push(message + &fields);
    }
}

fn to(host: &str) -> Request<String> {
    let mut request = chat("m");
    *request.uri_mut() = format!("https://{host}/v1/chat").parse().unwrap();
    request
}

const UNREAD: &str = "429 says nothing in its head, and its body was not read: put `InspectLayer` next \
                      to the client provider=Gemini";
const REJECTED: &str = "provider rejects a key, the other keys serve on: replace the key, or remove it \
                        from the pool";
const SPENT: &str = "credits of a key are spent, the other keys serve on: add credits, or remove the key \
                     from the pool";

#[tokio::test(start_paused = true)]
async fn unread_body_is_a_warning_once_for_a_stack() {
    let (warnings, _guard) = Warnings::collect();
    let provider = Provider::new(|_| status(429));
    let backoff = BackoffLayer::new().attempts(2);
    let keys = KeyRotationLayer::new(pool(&["a", "b"]));
    let service = ServiceBuilder::new()
        .layer(backoff)
        .layer(keys)
        .service(provider.clone());
    for _ in 0..3 {
        let call = service
            .clone()
            .oneshot(to("generativelanguage.googleapis.com"));
        call.await.unwrap();
    }
    assert!(provider.seen().len() >= 6, "each call was retried");
    assert_eq!(warnings.take(), [UNREAD]);
}

#[tokio::test(start_paused = true)]
async fn no_warning_for_a_read_body_a_known_hint_or_an_unknown_provider() {
    let (warnings, _guard) = Warnings::collect();
    let gemini = || to("generativelanguage.googleapis.com");
    let layer = BackoffLayer::new().attempts(2);

    let provider = Provider::new(|_| status(429));
    let inspected = InspectLayer::new().layer(
        provider
            .clone()
            .map_response(|response| response.map(http_body_util::Full::<bytes::Bytes>::from)),
    );
    layer.layer(inspected).oneshot(gemini()).await.unwrap();
    let stack = layer.layer(provider);
    stack.clone().oneshot(to("api.example")).await.unwrap();
    // The body contains no more than the head.
    stack.oneshot(to("integrate.api.nvidia.com")).await.unwrap();
    let hinted = Provider::new(|_| limited(1));
    layer.layer(hinted).oneshot(gemini()).await.unwrap();
    assert_eq!(warnings.take(), [""; 0]);

    let provider = Provider::new(|_| status(429));
    layer.layer(provider).oneshot(gemini()).await.unwrap();
    assert_eq!(warnings.take(), [UNREAD], "this layer has not warned yet");
}

#[tokio::test(start_paused = true)]
async fn rejected_key_among_several_is_a_warning_once_until_it_works() {
    let (warnings, _guard) = Warnings::collect();
    let revoked = Arc::new(Mutex::new(true));
    let is_revoked = revoked.clone();
    let provider = Provider::new(move |seen| match seen.key() {
        "a" if *is_revoked.lock().unwrap() => status(401),
        _ => ok(),
    });
    let keys = ["a", "b"].map(|key| Key::new(key).label(format!("label-{key}")));
    let pool = KeyPool::builder(keys).round_robin().build().unwrap();
    let service = KeyRotationLayer::new(pool).layer(provider.clone());
    let call_hourly = async |calls: u32| {
        for _ in 0..calls {
            let response = service.clone().oneshot(chat("m")).await.unwrap();
            assert_eq!(response.status(), 200);
            tokio::time::advance(secs(3600)).await;
        }
    };
    call_hourly(8).await;
    let probes = provider.keys().iter().filter(|key| *key == "a").count();
    assert!(probes >= 2, "the key was probed again: {probes}");
    let warning = [format!("{REJECTED} key=\"label-a\"")];
    assert_eq!(warnings.take(), warning);

    *revoked.lock().unwrap() = false;
    call_hourly(48).await;
    *revoked.lock().unwrap() = true;
    call_hourly(4).await;
    assert_eq!(warnings.take(), warning);
}

#[tokio::test(start_paused = true)]
async fn exhausted_quota_is_a_warning_unless_there_is_only_one_key() {
    let (warnings, _guard) = Warnings::collect();
    let provider = Provider::new(|seen| status(if seen.key() == "a" { 402 } else { 200 }));
    for keys in [&["a"][..], &["a", "b"]] {
        let service = KeyRotationLayer::new(pool(keys)).layer(provider.clone());
        for _ in 0..3 {
            service.clone().oneshot(chat("m")).await.unwrap();
        }
    }
    assert_eq!(warnings.take(), [format!("{SPENT} key=\"key-1\"")]);
}

#[tokio::test(start_paused = true)]
async fn key_without_permission_for_one_model_is_no_warning() {
    let (warnings, _guard) = Warnings::collect();
    let provider = Provider::new(|seen| match seen.key() {
        "a" => Answer::Response(
            403,
            vec![("x-amzn-errortype", "AccessDeniedException".into())],
        ),
        _ => ok(),
    });
    let service = KeyRotationLayer::new(pool(&["a", "b"])).layer(provider.clone());
    for _ in 0..2 {
        let response = service.clone().oneshot(chat("m")).await.unwrap();
        assert_eq!(response.status(), 200, "another key has permission");
    }
    assert_eq!(provider.keys()[..2], ["a", "b"]);
    assert_eq!(warnings.take(), [""; 0]);
}
