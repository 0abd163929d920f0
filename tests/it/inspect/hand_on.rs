//! The layer passes responses through unchanged.

use std::{collections::VecDeque, pin::Pin, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Response, response};
use http_body::Body;
use http_body_util::BodyExt;
use proptest::{collection::vec, option, prelude::*, sample::Index, sample::select};
use tokio::time::Instant;
use tower_429::{InspectLayer, rejection::Rejection};

use super::{
    answer,
    body::{Scripted, Step},
    inspect, inspect_twice,
};

/// Bodies that the layer reads, some to the end and some only in part.
const PAYLOADS: &[&str] = &[
    "",
    "not JSON",
    r#"{"error":{"type":"insufficient_quota","message":"You exceeded your current quota"}}"#,
    r#" {"error":{"code":429,"message":"Rate limit exceeded"}}"#,
    r#"{"id":"1","choices":[]}"#,
    "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
    ": keep-alive\n\n: keep-alive\n\ndata: {\"choices\":[]}\n\ndata: [DONE]\n\n",
    "event: ping\ndata: {\"type\": \"ping\"}\n\nevent: message_start\ndata: {}\n\n",
    "data: {\"error\":{\"code\":502}}",
];

const KINDS: &[Option<&str>] = &[
    None,
    Some("application/json"),
    Some("application/problem+json; charset=utf-8"),
    Some("text/event-stream"),
    Some("text/html"),
    Some("application/vnd.amazon.eventstream"),
    Some("application/octet-stream"),
];

#[derive(Clone, Debug)]
struct Case {
    status: u16,
    kind: Option<&'static str>,
    coding: Option<&'static str>,
    steps: Vec<Step>,
    knows_length: bool,
    limit: usize,
    max_wait: Duration,
    first_event: Option<Duration>,
    twice: bool,
}

fn millis(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => select(PAYLOADS).prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..120),
    ]
}

/// A payload in frames of any size, also empty ones, with pauses, and its end.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let late = prop_oneof![
        4 => Just(None),
        1 => Just(Some(Step::Yield)),
        1 => millis(0..1_500).prop_map(|pause| Some(Step::Pause(pause))),
    ];
    let end = prop_oneof![
        2 => Just(None),
        1 => Just(Some(Step::Fail("reset by peer"))),
        1 => ("[a-z]{1,8}", "[a-z0-9]{0,8}").prop_map(|(name, value)| {
            let mut trailers = HeaderMap::new();
            trailers.insert(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
            Some(Step::Trailers(trailers))
        }),
    ];
    let cuts = vec((any::<Index>(), late.clone()), 0..10);
    (payload(), cuts, late, end).prop_map(|(payload, cuts, before_end, end)| {
        let mut cuts: Vec<_> = cuts
            .into_iter()
            .map(|(index, late)| (index.index(payload.len() + 1), late))
            .collect();
        cuts.sort_by_key(|(at, _)| *at);
        cuts.push((payload.len(), None));
        let mut steps = Vec::new();
        let mut from = 0;
        for (at, late) in cuts {
            steps.extend(late);
            steps.push(Step::Data(Bytes::copy_from_slice(&payload[from..at])));
            from = at;
        }
        steps.extend(before_end.into_iter().chain(end));
        steps
    })
}

prop_compose! {
    fn case()(
        status in select(&[200_u16, 206, 302, 400, 401, 403, 404, 429, 500, 529][..]),
        kind in select(KINDS),
        coding in select(&[None, None, Some("identity"), Some("gzip")][..]),
        steps in steps(),
        knows_length in any::<bool>(),
        limit in prop_oneof![Just(64 * 1024), 0..130_usize],
        max_wait in millis(0..2_000),
        first_event in option::weighted(0.7, millis(0..2_000)),
        twice in any::<bool>(),
    ) -> Case {
        Case { status, kind, coding, steps, knows_length, limit, max_wait, first_event, twice }
    }
}

impl Case {
    fn layer(&self) -> InspectLayer {
        let layer = InspectLayer::new()
            .limit(self.limit)
            .max_wait(self.max_wait);
        self.first_event
            .map_or(layer, |max_wait| layer.first_event(max_wait))
    }

    fn response(&self) -> Response<Scripted> {
        let body = match self.knows_length {
            true => Scripted::of_known_length(self.steps.clone()),
            false => Scripted::new(self.steps.clone()),
        };
        let kind = self.kind.map(|kind| ("content-type", kind));
        let coding = self.coding.map(|coding| ("content-encoding", coding));
        let headers: Vec<_> = [("x-request-id", "7")]
            .into_iter()
            .chain(kind)
            .chain(coding)
            .collect();
        answer(self.status, &headers, body)
    }

    fn may_be_read(&self) -> bool {
        match self.status {
            400.. => true,
            300.. => false,
            _ => self.first_event.is_some(),
        }
    }

    fn longest(&self) -> Duration {
        match self.status {
            400.. => self.max_wait,
            _ => self.first_event.unwrap_or_default(),
        }
    }
}

/// Returns the frames and the error of a body. Asserts that `size_hint` and `is_end_stream` are correct.
async fn frames<B>(mut body: B, expected: &[Step], exact: bool) -> Vec<String>
where
    B: Body<Data = Bytes, Error = &'static str> + Unpin,
{
    let length = |step: &Step| match step {
        Step::Data(data) => data.len() as u64,
        _ => 0,
    };
    let mut left: u64 = expected.iter().map(length).sum();
    let mut seen = Vec::new();
    let mut ended = false;
    loop {
        let hint = body.size_hint();
        assert!(hint.lower() <= left, "{hint:?} of {left}");
        assert!(
            hint.upper().is_none_or(|upper| upper >= left),
            "{hint:?} of {left}"
        );
        if exact {
            assert_eq!(hint.exact(), Some(left));
        }
        ended |= body.is_end_stream();
        let frame = match Pin::new(&mut body).frame().await {
            None => return seen,
            Some(frame) => frame,
        };
        assert!(!ended, "a frame after the end");
        let step = frame.map(|frame| match frame.into_data() {
            Ok(data) => Step::Data(data),
            Err(other) => Step::Trailers(other.into_trailers().unwrap()),
        });
        let step = step.unwrap_or_else(Step::Fail);
        left -= length(&step);
        seen.push(format!("{step:?}"));
    }
}

type Erased = Pin<Box<dyn Body<Data = Bytes, Error = &'static str>>>;

fn erase(body: impl Body<Data = Bytes, Error = &'static str> + 'static) -> Erased {
    Box::pin(body)
}

fn same_head(head: &response::Parts, expected: &response::Parts) -> bool {
    (head.status, &head.headers, head.version)
        == (expected.status, &expected.headers, expected.version)
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(test)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn frames_trailers_and_error_are_passed_through(case in case()) {
        run(async {
            let response = case.response();
            let watch = response.body().watch();
            let (expected, _) = case.response().into_parts();
            let start = Instant::now();
            let (head, body) = match case.twice {
                true => inspect_twice(case.layer(), response).await.map(erase),
                false => inspect(case.layer(), response).await.map(erase),
            }
            .into_parts();

            assert!(start.elapsed() <= case.longest(), "{:?}", start.elapsed());
            assert!(same_head(&head, &expected));
            if !case.may_be_read() {
                assert_eq!(watch.polls(), 0);
            }
            if watch.polls() > 0 {
                assert!(watch.bytes() == 0 || watch.bytes_before_last() < case.limit);
            }

            let mut steps: VecDeque<_> = case.steps.clone().into();
            steps.retain(|step| !matches!(step, Step::Pause(_) | Step::Yield));
            let steps: Vec<_> = steps.into();
            let fails = steps.iter().any(|step| matches!(step, Step::Fail(_)));
            let seen = frames(body, &steps, case.knows_length && !fails).await;
            let given: Vec<_> = steps.iter().map(|step| format!("{step:?}")).collect();
            assert_eq!(seen, given);
        });
    }

    #[test]
    fn division_into_frames_does_not_change_the_rejection(
        payload in select(PAYLOADS),
        cuts in vec(any::<Index>(), 0..12),
        status in select(&[200_u16, 400, 429, 529][..]),
        kind in select(&["application/json", "text/event-stream"][..]),
    ) {
        let rejection = |cuts: &[usize]| {
            let mut steps = Vec::new();
            let mut from = 0;
            for at in cuts.iter().copied().chain([payload.len()]) {
                steps.push(Step::Yield);
                steps.push(Step::Data(payload.as_bytes()[from..at].to_vec().into()));
                from = at;
            }
            let layer = InspectLayer::new().first_event(Duration::from_secs(1));
            let response = answer(status, &[("content-type", kind)], Scripted::new(steps));
            let response = run(inspect(layer, response));
            response.extensions().get::<Rejection>().cloned()
        };
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(payload.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(rejection(&cuts), rejection(&[]));
    }
}
