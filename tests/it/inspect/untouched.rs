//! Responses that the layer does not read, and calls that are dropped.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::Request;
use http_body_util::BodyExt;
use tower::{Layer, Service};
use tower_429::{
    InspectLayer,
    rejection::{Reason, Rejection},
};

use super::{
    answer,
    body::{Scripted, Step},
    inspect, once,
};

const ERROR: &str = r#"{"error":{"code":429,"message":"Rate limit exceeded"}}"#;

#[tokio::test(start_paused = true)]
async fn success_is_not_polled_by_the_layer_and_not_classified() {
    for (status, kind) in [
        (200, "application/json"),
        (200, "text/event-stream"),
        (206, "application/octet-stream"),
        (302, "text/html"),
        (304, "application/json"),
    ] {
        let body = Scripted::of(ERROR);
        let watch = body.watch();
        let response = answer(
            status,
            &[("content-type", kind), ("retry-after", "5")],
            body,
        );
        let response = inspect(InspectLayer::new(), response).await;
        assert_eq!(watch.polls(), 0, "{status} {kind}");
        assert_eq!(response.extensions().get::<Rejection>(), None);
        let whole = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(whole, ERROR);
        assert!(watch.polls() > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn first_event_is_read_only_in_event_streams() {
    let layer = InspectLayer::new().first_event(Duration::from_secs(5));
    for (status, headers) in [
        (200, &[("content-type", "image/png")][..]),
        (200, &[("content-type", "text/plain")]),
        (200, &[]),
        (
            200,
            &[
                ("content-type", "text/event-stream"),
                ("content-encoding", "gzip"),
            ],
        ),
        (302, &[("content-type", "text/event-stream")]),
    ] {
        let body = Scripted::of(ERROR);
        let watch = body.watch();
        let response = inspect(layer, answer(status, headers, body)).await;
        assert_eq!(watch.polls(), 0, "{status} {headers:?}");
        assert_eq!(response.extensions().get::<Rejection>(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn existing_rejection_is_kept_and_the_body_is_not_read() {
    let body = Scripted::of(r#"{"error":{"type":"insufficient_quota"}}"#);
    let watch = body.watch();
    let mut response = answer(429, &[], body);
    let known = Rejection::new(Reason::Overloaded);
    response.extensions_mut().insert(known.clone());
    let response = inspect(InspectLayer::new(), response).await;
    assert_eq!(response.extensions().get(), Some(&known));
    assert_eq!(watch.polls(), 0);
}

#[tokio::test(start_paused = true)]
async fn dropped_call_drops_the_body_that_it_was_reading() {
    let body = Scripted::new([Step::Data("{".into()), Step::Pause(Duration::from_secs(9))]);
    let watch = body.watch();
    let provider = once(answer(429, &[], body));
    {
        let call = pin!(InspectLayer::new().layer(provider).call(Request::new(())));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(call.poll(&mut cx), Poll::Pending));
        assert_eq!((watch.bytes(), watch.is_dropped()), (1, false));
    }
    assert!(watch.is_dropped());
}
