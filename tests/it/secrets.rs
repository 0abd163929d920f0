//! Nothing that can be printed contains a key, a body or a full URL.

use std::{
    fmt::{self, Debug, Write as _},
    sync::{Arc, Mutex},
};

use crate::script::*;
use crate::subscriber::subscribe;
use http::{HeaderValue, Request, header};
use metrics_exporter_prometheus::PrometheusBuilder;
use tower::{ServiceBuilder, ServiceExt};
use tower_429::{
    BackoffLayer, Call, FallbackLayer, KeyPool, KeyRotationLayer, fallback::Target,
    key_rotation::Key,
};

const SECRETS: [&str; 7] = [
    "SECRET-1",
    "SECRET-2",
    "SECRET-3",
    "SECRET%2D1",
    "SECRET%2D2",
    "PROMPT",
    "TENANT",
];

/// Everything that was printed.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<String>>);

impl Printed {
    fn debug(&self, value: &dyn Debug) {
        writeln!(self.0.lock().unwrap(), "{value:?} {value:#?}").unwrap();
    }

    fn error(&self, value: &(impl std::error::Error + ?Sized)) {
        writeln!(
            self.0.lock().unwrap(),
            "{value} {value:?} {:?}",
            value.source()
        )
        .unwrap();
    }

    fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

impl tracing::field::Visit for Printed {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        write!(self.0.lock().unwrap(), "{}={value:?} ", field.name()).unwrap();
    }
}

/// Prints every span and event with all its fields.
struct Subscriber(Printed);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Subscriber {
    fn on_new_span(
        &self,
        attrs: &tracing::span::Attributes<'_>,
        _: &tracing::Id,
        _: tracing_subscriber::layer::Context<'_, S>,
    ) {
        write!(self.0.0.lock().unwrap(), "{} ", attrs.metadata().name()).unwrap();
        attrs.record(&mut self.0.clone());
    }

    fn on_record(
        &self,
        _: &tracing::Id,
        values: &tracing::span::Record<'_>,
        _: tracing_subscriber::layer::Context<'_, S>,
    ) {
        values.record(&mut self.0.clone());
    }

    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        event.record(&mut self.0.clone());
        writeln!(self.0.0.lock().unwrap(), "{}", event.metadata().level()).unwrap();
    }
}

fn request() -> Request<String> {
    Request::post("https://api.example/v1/TENANT/chat?key=SECRET-3")
        .header("x-api-key", "SECRET-3")
        .body(r#"{"model":"m","messages":"PROMPT"}"#.into())
        .unwrap()
}

/// Runs calls that wait, rotate, fall back and fail, and prints everything about them that can be printed.
async fn print_everything(printed: &Printed, in_query: bool) -> Provider {
    let keys = [
        Key::new("SECRET-1").label("one").group("org"),
        Key::new("SECRET-2").label("two"),
    ];
    let builder = KeyPool::builder(keys);
    let builder = if in_query {
        builder.query("key")
    } else {
        builder
    };
    printed.debug(&builder);
    let pool = builder.build().unwrap();
    let theirs = HeaderValue::from_static("SECRET-3");
    let target = Target::model("other")
        .at("https://other.example/TENANT")
        .unwrap();
    let target = target.header(header::AUTHORIZATION, theirs);
    printed.debug(&target);
    let backoff = BackoffLayer::new().attempts(2);
    let rotation = KeyRotationLayer::new(pool.clone());
    let fallback = FallbackLayer::new([target, "third".into()]);
    printed.debug(&(&backoff, &rotation, &fallback));

    let provider = Provider::new(|seen| match seen.key() {
        "SECRET-2" => status(401),
        _ if seen
            .uri
            .query()
            .is_some_and(|query| query.contains("SECRET%2D2")) =>
        {
            status(402)
        }
        _ => limited(2),
    });
    let service = ServiceBuilder::new()
        .layer(fallback)
        .layer(backoff)
        .layer(rotation)
        .service(Opaque(provider.clone()));
    printed.debug(&service);
    let call = Call::new();
    printed.debug(&call);
    let mut request = request();
    request.extensions_mut().insert(call.clone());
    let future = service.clone().oneshot(request);
    let response = future.await.unwrap();
    assert_eq!(response.status(), 429);
    printed.debug(&response);
    printed.debug(&call);
    printed.debug(&call.trail());
    pool.record_metrics("pool");
    printed.debug(&(service, pool.clone(), pool.snapshot()));
    provider
}

/// The provider, with a `Debug` that does not print what the provider saw.
#[derive(Clone)]
struct Opaque(Provider);

impl Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opaque")
    }
}

impl tower::Service<Request<String>> for Opaque {
    type Response = http::Response<String>;
    type Error = std::io::Error;
    type Future = <Provider as tower::Service<Request<String>>>::Future;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<String>) -> Self::Future {
        self.0.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn debug_output_telemetry_and_errors_contain_no_key_body_or_path() {
    use tracing_subscriber::layer::SubscriberExt as _;

    for in_query in [false, true] {
        let printed = Printed::default();
        let subscriber = tracing_subscriber::registry().with(Subscriber(printed.clone()));
        let guard = subscribe(subscriber);
        let recorder = PrometheusBuilder::new().build_recorder();
        let recording = metrics::set_default_local_recorder(&recorder);
        let provider = print_everything(&printed, in_query).await;
        drop((guard, recording));
        let metrics = recorder.handle().render();
        writeln!(printed.0.lock().unwrap(), "{metrics}").unwrap();
        let sent = format!(
            "{:?}",
            provider
                .seen()
                .iter()
                .map(|seen| (&seen.uri, seen.key().to_owned()))
                .collect::<Vec<_>>()
        );
        assert!(sent.contains("SECRET"), "the keys were used: {sent}");
        let text = printed.text();
        for shown in ["\"one\"", "\"two\"", "RateLimited", "other"] {
            assert!(text.contains(shown), "{shown} is in {text}");
        }
        #[cfg(feature = "tracing")]
        for shown in [
            "next key",
            "rate limited, waiting",
            "rate limited, next target",
            "key=\"one\"",
            "model=\"m\"",
            "WARN",
            "INFO",
            "POST otel.kind=\"client\"",
            "server.address=\"api.example\"",
            "tower_429.key=\"",
            "tower_429.outcome=\"rejected\"",
        ] {
            assert!(text.contains(shown), "{shown} is in {text}");
        }
        #[cfg(feature = "metrics")]
        for shown in [
            "tower_429_attempts_total{host=\"other.example\"",
            "tower_429_keys{pool=\"pool\",state=\"on_cooldown\"}",
        ] {
            assert!(text.contains(shown), "{shown} is in {text}");
        }
        assert!(!metrics.contains("two"), "no label is in {metrics}");
        for secret in SECRETS {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn text_of_an_error_reveals_no_secret_in_any_order_of_layers() {
    use tracing_subscriber::layer::SubscriberExt as _;

    let provider = || {
        tower::service_fn(async |request: Request<String>| {
            let (uri, headers) = (request.uri(), request.headers());
            let of_header = |name: &str| headers[name].to_str().unwrap().to_owned();
            let (key, own) = (of_header("authorization"), of_header("x-api-key"));
            let path = uri.path_and_query().unwrap();
            let error = format!("{uri} gone: {key}; {own}; {path}; x-api-key={own}; fine");
            Err::<http::Response<String>, _>(std::io::Error::other(error))
        })
    };
    let keys = || KeyRotationLayer::new(KeyPool::new(["SECRET-1"]).unwrap());
    let retrying = || BackoffLayer::new().attempts(2).on_error(|_: &_| true);
    for is_outermost in [true, false] {
        let printed = Printed::default();
        let subscriber = tracing_subscriber::registry().with(Subscriber(printed.clone()));
        let guard = subscribe(subscriber);
        let call = Call::new();
        let mut request = request();
        request.extensions_mut().insert(call.clone());
        let layers = ServiceBuilder::new();
        let sent = match is_outermost {
            true => {
                let stack = layers.layer(retrying()).layer(keys());
                stack.service(provider()).oneshot(request).await
            }
            false => {
                let stack = layers.layer(keys()).layer(retrying());
                stack.service(provider()).oneshot(request).await
            }
        };
        assert!(sent.unwrap_err().to_string().contains("SECRET-1"));
        drop(guard);
        printed.debug(&call.trail());
        let text = format!("{}{}", printed.text(), call.trail());
        assert!(text.matches("gone: Bearer …").count() >= 4, "{text}");
        assert!(text.contains("fine"), "{text}");
        for secret in SECRETS {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
    }
}

#[test]
fn no_error_of_a_configuration_contains_a_key_or_an_address() {
    let printed = Printed::default();
    let twice = || {
        [
            Key::new("SECRET-1").label("x"),
            Key::new("SECRET-2").label("x"),
        ]
    };
    let errors = [
        KeyPool::new(["SECRET-1\n"]).unwrap_err(),
        KeyPool::new(["SECRET-1 PROMPT"]).unwrap_err(),
        KeyPool::new(twice()).unwrap_err(),
        KeyPool::builder(["SECRET-1"])
            .for_origin("https://a:SECRET-2@b.example")
            .build()
            .unwrap_err(),
        KeyPool::builder(["SECRET-1"])
            .for_origin("https://b.example?key=SECRET-2")
            .build()
            .unwrap_err(),
        KeyPool::new(["SECRET-1"])
            .unwrap()
            .add("SECRET-2\r\n")
            .unwrap_err(),
    ];
    errors.iter().for_each(|error| printed.error(error));
    for address in [
        "https://me:SECRET-1@b.example",
        "https://b.example?key=SECRET-1",
        "SECRET-1",
    ] {
        printed.error(&Target::same_model_at(address).unwrap_err());
    }
    let builder = KeyPool::builder(["SECRET-1"]).for_origin("https://a:SECRET-2@b.example");
    printed.debug(&builder);
    printed.debug(&twice());
    let text = printed.text();
    assert!(text.contains("key-1"), "{text}");
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
}

#[cfg(feature = "reqwest")]
#[tokio::test]
async fn error_of_reqwest_is_returned_without_its_url() {
    use tower::Layer as _;
    use tower_429::client::ReqwestClient;

    let printed = Printed::default();
    let pool = KeyPool::builder(["SECRET-1"]).query("key").build().unwrap();
    let client = ReqwestClient::new(reqwest::Client::new());
    // Port 1 of loopback refuses connections, and reqwest rejects a relative URI.
    for uri in ["http://127.0.0.1:1/TENANT", "/TENANT"] {
        let request = Request::get(uri).body(reqwest::Body::default()).unwrap();
        let service = KeyRotationLayer::new(pool.clone()).layer(client.clone());
        let error = service.oneshot(request).await.unwrap_err();
        assert!(error.is_connect() || error.is_builder(), "{error:?}");
        printed.error(&error);
    }
    for secret in SECRETS {
        assert!(
            !printed.text().contains(secret),
            "{secret} is in {}",
            printed.text()
        );
    }
}
