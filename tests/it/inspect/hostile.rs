//! Hostile bodies: time and memory are bounded, the response is passed through, and the head is still classified.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::time::Instant;
use tower_429::{
    InspectLayer,
    rejection::{Reason, Rejection},
};

use super::{
    answer,
    body::{Scripted, Step},
    inspect,
};

const KIB: usize = 1024;

/// Returns the rejection that the head of every response here describes.
fn of_the_head() -> Rejection {
    let mut rejection = Rejection::new(Reason::RateLimited);
    rejection.retry_after = Some(Duration::from_secs(5));
    rejection
}

const HEAD: &[(&str, &str)] = &[("retry-after", "5")];

fn drip() -> impl Iterator<Item = Step> + Send {
    (0_u64..).flat_map(|number| {
        let byte = Bytes::from(vec![u8::try_from(number % 251).unwrap()]);
        [Step::Pause(Duration::from_millis(10)), Step::Data(byte)]
    })
}

#[tokio::test(start_paused = true)]
async fn endless_slow_body_is_read_for_a_second_and_passed_through() {
    let start = Instant::now();
    let body = Scripted::new(drip());
    let watch = body.watch();
    let mut response = inspect(InspectLayer::new(), answer(429, HEAD, body)).await;
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    assert!((99..=100).contains(&watch.bytes()), "{}", watch.bytes());
    assert_eq!(response.extensions().get(), Some(&of_the_head()));
    for number in 0..300_u64 {
        let data = response
            .body_mut()
            .frame()
            .await
            .unwrap()
            .unwrap()
            .into_data();
        assert_eq!(data.unwrap(), [u8::try_from(number % 251).unwrap()][..]);
    }
}

#[tokio::test(start_paused = true)]
async fn layer_waits_for_a_body_that_never_begins_as_configured() {
    for max_wait in [
        Duration::ZERO,
        Duration::from_millis(1),
        Duration::from_secs(30),
    ] {
        let start = Instant::now();
        let body = Scripted::new([Step::Pause(Duration::from_secs(3_600))]);
        let layer = InspectLayer::new().max_wait(max_wait);
        let response = inspect(layer, answer(429, HEAD, body)).await;
        assert_eq!(start.elapsed(), max_wait);
        assert_eq!(response.extensions().get(), Some(&of_the_head()));
    }
}

#[tokio::test(start_paused = true)]
async fn first_64_kib_of_a_gibibyte_are_read_and_all_is_passed_through() {
    let start = Instant::now();
    let chunk = Bytes::from(vec![b'{'; 16 * KIB]);
    let chunks = KIB * KIB / 16;
    let body = Scripted::new(std::iter::repeat_n(Step::Data(chunk), chunks));
    let watch = body.watch();
    let response = inspect(InspectLayer::new(), answer(429, HEAD, body)).await;
    assert_eq!(watch.bytes(), 64 * KIB);
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(response.extensions().get(), Some(&of_the_head()));
    let mut body = response.into_body();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame.unwrap().into_data().unwrap().len();
    }
    assert_eq!(bytes, KIB * KIB * KIB);
}

#[tokio::test(start_paused = true)]
async fn empty_frames_are_not_collected_forever() {
    let body = Scripted::new(std::iter::repeat(Step::Data(Bytes::new())));
    let watch = body.watch();
    let response = inspect(InspectLayer::new(), answer(429, HEAD, body)).await;
    assert!(watch.polls() <= 64 * KIB, "{}", watch.polls());
    assert_eq!(response.extensions().get(), Some(&of_the_head()));
}

#[tokio::test(start_paused = true)]
async fn stream_of_comments_is_read_within_the_same_bounds() {
    let comment = || Step::Data(Bytes::from_static(b": keep-alive\n\n"));
    let stream = [("content-type", "text/event-stream")];
    let layer = InspectLayer::new().first_event(Duration::from_secs(7));

    let body = Scripted::new(std::iter::repeat_with(comment));
    let watch = body.watch();
    let response = inspect(layer, answer(200, &stream, body)).await;
    assert!(watch.bytes_before_last() < 64 * KIB);
    assert_eq!(response.extensions().get::<Rejection>(), None);

    let start = Instant::now();
    let body =
        Scripted::new((0..).flat_map(move |_| [Step::Pause(Duration::from_secs(2)), comment()]));
    let mut response = inspect(layer, answer(200, &stream, body)).await;
    assert_eq!(start.elapsed(), Duration::from_secs(7));
    let first = response.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), ": keep-alive\n\n");
}

#[tokio::test(start_paused = true)]
async fn malformed_body_leaves_the_rejection_of_the_head_and_is_passed_on() {
    let billing = r#"{"error":{"type":"insufficient_quota","message":"No."}}"#;
    let start = Instant::now();
    let bodies: [(&str, Vec<u8>); 9] = [
        ("invalid UTF-8", [billing.as_bytes(), b"\xff"].concat()),
        (
            "invalid UTF-8 in a string",
            b"{\"error\":\"insufficient_quota\xff\"}".to_vec(),
        ),
        (
            "HTML",
            b"<html><body>insufficient_quota</body></html>".to_vec(),
        ),
        (
            "nested",
            [b"[".repeat(100_000), b"]".repeat(100_000)].concat(),
        ),
        (
            "nested within the limit",
            [b"[".repeat(30_000), billing.into(), b"]".repeat(30_000)].concat(),
        ),
        ("nested objects", b"{\"error\":".repeat(100_000)),
        ("cut off", billing.as_bytes()[..30].to_vec()),
        (
            "too long",
            [&b" ".repeat(64 * KIB), billing.as_bytes()].concat(),
        ),
        ("nothing", Vec::new()),
    ];
    for (name, bytes) in bodies {
        let frames: Vec<_> = bytes.chunks(8 * KIB).map(Bytes::copy_from_slice).collect();
        let body = Scripted::new(frames.into_iter().map(Step::Data));
        let watch = body.watch();
        let json = ("content-type", "application/json");
        let response = inspect(InspectLayer::new(), answer(429, &[HEAD[0], json], body)).await;
        assert!(watch.bytes() <= 64 * KIB, "{name}");
        assert_eq!(response.extensions().get(), Some(&of_the_head()), "{name}");
        let whole = response.into_body().collect().await.unwrap().to_bytes();
        assert!(whole == bytes, "{name}");
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn compressed_and_binary_bodies_are_not_read() {
    let billing = r#"{"error":{"type":"insufficient_quota","message":"No."}}"#;
    for header in [
        ("content-encoding", "gzip"),
        ("content-encoding", "identity, br"),
        ("content-type", "application/octet-stream"),
        ("content-type", "image/png"),
    ] {
        let body = Scripted::of(billing);
        let watch = body.watch();
        let response = inspect(InspectLayer::new(), answer(429, &[HEAD[0], header], body)).await;
        assert_eq!(watch.polls(), 0, "{header:?}");
        assert_eq!(
            response.extensions().get(),
            Some(&of_the_head()),
            "{header:?}"
        );
        let whole = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(whole, billing);
    }
}

#[tokio::test(start_paused = true)]
async fn part_of_a_body_that_failed_is_still_classified() {
    let billing = r#"{"error":{"type":"insufficient_quota","message":"No."}}"#;
    let steps = [Step::Data(billing.into()), Step::Fail("reset by peer")];
    let response = inspect(InspectLayer::new(), answer(429, HEAD, Scripted::new(steps))).await;
    let rejection = response.extensions().get::<Rejection>().unwrap();
    assert_eq!(rejection.reason, Reason::QuotaExhausted);
    let error = response.into_body().collect().await.unwrap_err();
    assert_eq!(error, "reset by peer");
}

#[tokio::test(start_paused = true)]
async fn signals_of_head_and_body_are_merged() {
    let body = r#"{"error":{"message":"Limit on tokens per min (TPM). Try again in 644ms."}}"#;
    let response = inspect(InspectLayer::new(), answer(429, HEAD, Scripted::of(body))).await;
    let (head, ()) = answer(429, HEAD, Scripted::of("")).map(drop).into_parts();
    let expected = Rejection::from_parts(&head, body.as_bytes(), SystemTime::now()).unwrap();
    assert_eq!(response.extensions().get(), Some(&expected));
    assert_ne!(expected, of_the_head());
}
