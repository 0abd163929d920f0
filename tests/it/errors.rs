//! How the trail shows attempts that ended in an error, and bodies that failed while they were drained.

use std::{
    error::Error,
    fmt, io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::script::secs;
use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_429::{
    BackoffLayer, Call, FallbackLayer, InspectLayer, KeyPool, KeyRotationLayer, fallback::Target,
};

/// An error like those of clients: the message names the operation, and the sources explain the failure.
#[derive(Debug)]
struct SendError {
    source: Option<io::Error>,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("client error (Connect)")
    }
}

impl Error for SendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.source.as_ref()?)
    }
}

const URL: &str = "https://me:hunter2@api.example/v1/chat?key=sk-secret";

fn reset() -> SendError {
    let why = format!("reset by {URL} (Bearer hunter2)");
    SendError {
        source: Some(io::Error::new(io::ErrorKind::ConnectionReset, why)),
    }
}

const RESET: &str = "error (ConnectionReset): client error (Connect): reset by https://api.example/… \
     (Bearer …)";

type Body = UnsyncBoxBody<Bytes, io::Error>;

fn body(text: &'static str) -> Body {
    let body = Full::from(text).map_err(|never| match never {});
    body.boxed_unsync()
}

/// Fails with these errors in turn, then succeeds.
fn failing<E: Send + 'static>(
    errors: impl IntoIterator<Item = E>,
) -> impl Service<Request<String>, Response = Response<Body>, Error = E, Future: Send> + Clone {
    let errors: Vec<_> = errors.into_iter().map(Some).collect();
    let errors = Arc::new(Mutex::new(errors.into_iter()));
    service_fn(move |_: Request<String>| {
        let error = errors.lock().unwrap().next().flatten();
        std::future::ready(match error {
            Some(error) => Err(error),
            None => Ok(Response::new(body("fine"))),
        })
    })
}

/// Returns the lines of the trail, and whether the call failed.
async fn lines<S, R>(stack: S) -> (Vec<String>, bool)
where
    S: Service<Request<String>, Response = Response<R>>,
{
    let call = Call::new();
    let mut request = crate::script::chat("large");
    request.extensions_mut().insert(call.clone());
    let is_err = stack.oneshot(request).await.is_err();
    let trail = call.trail().to_string();
    (trail.lines().map(Into::into).collect(), is_err)
}

fn backoff() -> BackoffLayer {
    BackoffLayer::new().attempts(3)
}

fn keys() -> KeyRotationLayer {
    KeyRotationLayer::new(KeyPool::new(["one", "two"]).unwrap())
}

/// Fails each request with an error that contains its key, as the request carries it and alone.
fn betraying()
-> impl Service<Request<String>, Response = Response<Body>, Error = io::Error, Future: Send> + Clone
{
    service_fn(async |request: Request<String>| {
        let key = match request.headers().get("x-own-key") {
            Some(key) => key.to_str().unwrap().to_owned(),
            None => "a/b-key".to_owned(),
        };
        let query = request.uri().query().unwrap_or_default().to_owned();
        Err(io::Error::other(format!("no {key} here, {query}; fine")))
    })
}

#[tokio::test(start_paused = true)]
async fn trail_hides_a_key_of_any_form_and_place_in_every_order() {
    // No key has a prefix or looks like a key, and one is the beginning of another.
    let in_header = || KeyPool::builder(["hunter", "hunter-two"]).header("x-own-key");
    let in_query = || KeyPool::builder(["a/b-key"]).query("sig");
    let retrying = || backoff().on_error(|_: &io::Error| true);
    let layers = ServiceBuilder::new;
    for builder in [in_header(), in_header().round_robin(), in_query()] {
        let pool = builder.build().unwrap();
        let keys = || KeyRotationLayer::new(pool.clone());
        let fallback = || FallbackLayer::new(["small"]).on_error(|_: &io::Error| true);
        let service = betraying;
        let trails = [
            lines(layers().layer(retrying()).layer(keys()).service(service())).await,
            lines(layers().layer(keys()).layer(retrying()).service(service())).await,
            lines(
                layers()
                    .layer(fallback())
                    .layer(keys())
                    .layer(retrying())
                    .service(service()),
            )
            .await,
            lines(
                layers()
                    .layer(retrying())
                    .layer(fallback())
                    .layer(keys())
                    .service(service()),
            )
            .await,
        ];
        for (lines, is_err) in trails {
            assert!(is_err && lines.len() >= 2, "{lines:#?}");
            for line in lines {
                assert!(line.contains("no … here"), "{line}");
                for secret in ["hunter", "a/b", "a%2Fb"] {
                    assert!(!line.contains(secret), "{line}");
                }
            }
        }
    }
}

/// Returns whether the line shows an attempt with this error.
fn ends_with_error(line: &str, error: &str, step: &str) -> bool {
    line.split_once(error)
        .is_some_and(|(_, rest)| rest.starts_with(step))
}

#[tokio::test(start_paused = true)]
async fn trail_says_kind_and_sources_of_a_retried_error_in_every_order() {
    let retrying = || backoff().on_error(|_: &SendError| true);
    let fallback = || FallbackLayer::new(["small"]);
    let two = || failing([reset(), reset()]);
    let layers = ServiceBuilder::new;
    let trails = [
        lines(retrying().layer(two())).await,
        lines(layers().layer(retrying()).layer(keys()).service(two())).await,
        lines(layers().layer(keys()).layer(retrying()).service(two())).await,
        lines(
            layers()
                .layer(fallback())
                .layer(retrying())
                .layer(keys())
                .service(two()),
        )
        .await,
        lines(
            layers()
                .layer(retrying())
                .layer(keys())
                .layer(fallback())
                .layer(InspectLayer::new())
                .service(two()),
        )
        .await,
    ];
    for (lines, is_err) in trails {
        assert!(!is_err && lines.len() == 3, "{lines:#?}");
        for line in &lines[..2] {
            assert!(ends_with_error(line, RESET, ", backoff: wait"), "{line}");
        }
        assert!(lines[2].ends_with("200"), "{lines:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn trail_says_why_fallback_sends_to_the_next_target() {
    let elsewhere = Target::same_model_at("https://other.example").unwrap();
    let fallback = FallbackLayer::new([elsewhere]).on_error(|_: &SendError| true);
    let layers = ServiceBuilder::new().layer(keys()).layer(fallback);
    let (lines, is_err) = lines(layers.service(failing([reset()]))).await;
    assert!(!is_err && lines.len() == 2, "{lines:#?}");
    let step = ", fallback: next target";
    assert!(ends_with_error(&lines[0], RESET, step), "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn trail_describes_the_error_that_the_caller_gets() {
    let retrying = backoff().on_error(|_: &SendError| true);
    let stack = ServiceBuilder::new().layer(retrying).layer(keys());
    let (lines, is_err) = lines(stack.service(failing([reset(), reset(), reset()]))).await;
    assert!(is_err && lines.len() == 3, "{lines:#?}");
    let step = ", backoff: returned, attempts used up";
    assert!(ends_with_error(&lines[2], RESET, step), "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn trail_says_sources_of_an_error_in_a_box() {
    let boxed = || -> BoxError { reset().into() };
    let retrying = || backoff().on_error(|_: &BoxError| true);
    let two = failing([boxed(), boxed()]);
    let (trail, _) = lines(retrying().layer(two)).await;
    assert!(trail[0].contains(RESET), "{trail:#?}");

    let silent = service_fn(|_: Request<String>| {
        std::future::pending::<Result<Response<Body>, SendError>>()
    });
    let stack = ServiceBuilder::new()
        .layer(retrying())
        .layer(keys())
        .timeout(secs(1))
        .service(silent);
    let (trail, _) = lines(stack).await;
    assert_eq!(trail.len(), 3);
    assert!(trail[2].contains("): request timed out, "), "{trail:#?}");
}

#[tokio::test(start_paused = true)]
async fn trail_names_the_type_of_an_error_that_no_layer_acts_on() {
    for layers in [true, false] {
        let (trail, _) = match layers {
            true => lines(keys().layer(failing([reset()]))).await,
            false => lines(BackoffLayer::new().layer(failing([reset()]))).await,
        };
        assert!(
            trail[0].ends_with("error (it::errors::SendError)"),
            "{trail:#?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn trail_says_that_a_send_was_given_up() {
    let call = Call::new();
    let mut request = crate::script::chat("large");
    request.extensions_mut().insert(call.clone());
    let silent =
        crate::script::Provider::script([crate::script::limited(1), crate::script::Answer::Never]);
    let stack = BackoffLayer::new().layer(silent);
    let given_up = tokio::time::timeout(secs(60), stack.oneshot(request)).await;
    assert!(given_up.is_err());
    let trail = call.trail().to_string();
    assert!(trail.ends_with("\n2. given up"), "{trail}");
}

#[tokio::test(start_paused = true)]
async fn trail_says_that_a_discarded_response_failed_while_it_was_drained() {
    let limited = || {
        let frames = [Ok(Frame::data("{".into())), Err(io::Error::other("reset"))];
        let mut response = Response::new(StreamBody::new(stream::iter(frames)).boxed_unsync());
        *response.status_mut() = http::StatusCode::TOO_MANY_REQUESTS;
        response
    };
    let provider = || {
        let sends = Arc::new(AtomicUsize::new(0));
        service_fn(move |_: Request<String>| {
            let is_first = sends.fetch_add(1, Ordering::Relaxed) == 0;
            std::future::ready(Ok::<Response<Body>, io::Error>(match is_first {
                true => limited(),
                false => Response::new(body("fine")),
            }))
        })
    };
    let waits = || BackoffLayer::new().jitter(0, Duration::ZERO);
    let trails = [
        lines(waits().layer(provider())).await.0,
        lines(
            ServiceBuilder::new()
                .layer(waits())
                .layer(InspectLayer::new())
                .service(provider()),
        )
        .await
        .0,
        lines(keys().layer(provider())).await.0,
    ];
    for trail in trails {
        assert_eq!(trail.len(), 2);
        let expected = "429, error (std::io::error::Error), ";
        assert!(trail[0].contains(expected), "{trail:#?}");
    }
}
