//! The layer works at each position in a stack, once or twice.

use std::{collections::HashSet, convert::Infallible, io, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use tower::{Layer, Service, ServiceExt, util::BoxCloneService};
use tower_429::{
    BackoffLayer, FallbackLayer, InspectLayer, KeyPool, KeyRotationLayer,
    rejection::{Reason, Rejection},
    trail::Trail,
};

use crate::script::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Backoff,
    Keys,
    Fallback,
    Inspect,
}

const ORDERS: [[Kind; 3]; 6] = [
    [Kind::Backoff, Kind::Keys, Kind::Fallback],
    [Kind::Backoff, Kind::Fallback, Kind::Keys],
    [Kind::Keys, Kind::Backoff, Kind::Fallback],
    [Kind::Keys, Kind::Fallback, Kind::Backoff],
    [Kind::Fallback, Kind::Backoff, Kind::Keys],
    [Kind::Fallback, Kind::Keys, Kind::Backoff],
];

type Client =
    BoxCloneService<Request<String>, Response<UnsyncBoxBody<Bytes, Infallible>>, io::Error>;

fn erase<S, R>(service: S) -> Client
where
    S: Service<Request<String>, Response = Response<R>, Error = io::Error> + Clone + Send + 'static,
    S::Future: Send,
    R: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    BoxCloneService::new(service.map_response(|response| response.map(BodyExt::boxed_unsync)))
}

/// Stacks the layers of `kinds` from outer to inner. No wait is random.
fn stack(kinds: &[Kind], provider: Client) -> Client {
    let steps = |_| [1, 2, 4].into_iter().map(secs);
    let mut client = provider;
    for kind in kinds.iter().rev() {
        client = match kind {
            Kind::Backoff => {
                let layer = BackoffLayer::new().attempts(3).delays(steps);
                erase(layer.jitter(0, Duration::ZERO).layer(client))
            }
            Kind::Keys => {
                let pool = KeyPool::new(["a", "b"]).unwrap();
                erase(KeyRotationLayer::new(pool).layer(client))
            }
            Kind::Fallback => erase(FallbackLayer::new(["backup"]).layer(client)),
            Kind::Inspect => erase(InspectLayer::new().layer(client)),
        };
    }
    client
}

/// Everything that the provider and the caller saw of a call.
#[derive(Debug, PartialEq, Eq)]
struct Observed {
    answer: String,
    trail: String,
    sent: Vec<(Duration, String, String)>,
    reason: Option<Reason>,
}

type Answers = fn(&Seen) -> Answer;

async fn observe(kinds: &[Kind], answers: Answers, body: &'static str) -> Observed {
    let provider = Provider::new(answers);
    let client = provider
        .clone()
        .map_response(move |response| response.map(|_| String::from(body)));
    let response = stack(kinds, erase(client))
        .oneshot(chat("m"))
        .await
        .unwrap();
    let (head, rest) = response.into_parts();
    let whole = rest.collect().await.unwrap().to_bytes();
    let rejection = head.extensions.get::<Rejection>();
    Observed {
        answer: format!("{} {:?} {whole:?}", head.status, head.headers),
        trail: head.extensions.get::<Trail>().unwrap().to_string(),
        sent: provider
            .seen()
            .iter()
            .map(|seen| (seen.at, seen.key().to_owned(), seen.model()))
            .collect(),
        reason: rejection.map(|rejection| rejection.reason),
    }
}

fn with_inspect_at(heights: &[usize], order: [Kind; 3]) -> Vec<Kind> {
    let mut kinds = order.to_vec();
    // From inner to outer, so that the outer positions do not change.
    for height in heights.iter().rev() {
        kinds.insert(*height, Kind::Inspect);
    }
    kinds
}

/// Providers whose response heads contain everything.
const SCENARIOS: &[(&str, Answers)] = &[
    ("limits of the model", |seen| {
        match (seen.model().as_str(), seen.key()) {
            ("m", "a") => limited(20),
            ("m", _) => limited(30),
            _ => ok(),
        }
    }),
    ("limits everywhere", |_| limited(7)),
    ("a limit without a hint", |seen| {
        match seen.model().as_str() {
            "m" => status(429),
            _ => ok(),
        }
    }),
    ("overload", |seen| match seen.model().as_str() {
        "m" => status(529),
        _ => ok(),
    }),
    ("a rejected key", |seen| match seen.key() {
        "a" => status(401),
        _ => ok(),
    }),
    ("an account without money", |seen| match seen.key() {
        "b" => ok(),
        _ => status(402),
    }),
    ("a request that is too large", |_| status(413)),
    ("no rejection", |_| status(500)),
    ("a success", |_| ok()),
];

#[tokio::test(start_paused = true)]
async fn position_and_number_do_not_matter_if_the_head_says_everything() {
    for (name, answers) in SCENARIOS {
        for order in ORDERS {
            let without = observe(&order, *answers, "{}").await;
            for one in 0..=3 {
                let kinds = with_inspect_at(&[one], order);
                assert_eq!(
                    observe(&kinds, *answers, "{}").await,
                    without,
                    "{name}: {kinds:?}"
                );
                for other in one..=3 {
                    let kinds = with_inspect_at(&[one, other], order);
                    assert_eq!(
                        observe(&kinds, *answers, "{}").await,
                        without,
                        "{name}: {kinds:?}"
                    );
                }
            }
        }
    }
}

const BILLING: &str = r#"{"error":{"type":"insufficient_quota","message":"No credits."}}"#;

fn all_rejected(_: &Seen) -> Answer {
    status(429)
}

#[tokio::test(start_paused = true)]
async fn innermost_position_serves_all_layers_if_only_the_body_says_it() {
    for order in ORDERS {
        for heights in [&[3][..], &[0, 3], &[3, 3], &[1, 2, 3]] {
            let kinds = with_inspect_at(heights, order);
            let observed = observe(&kinds, all_rejected, BILLING).await;
            assert_eq!(observed.reason, Some(Reason::QuotaExhausted), "{kinds:?}");
            assert!(observed.answer.contains("No credits."), "{kinds:?}");
            let keys: HashSet<_> = observed.sent.iter().map(|(_, key, _)| key).collect();
            let models: HashSet<_> = observed.sent.iter().map(|(_, _, model)| model).collect();
            assert_eq!(
                (keys.len(), models.len()),
                (2, 2),
                "{kinds:?}\n{}",
                observed.trail
            );
            assert!(
                !observed.trail.contains("wait of"),
                "{kinds:?}\n{}",
                observed.trail
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn outer_position_keeps_the_rejection_of_inner_layers_and_the_body() {
    for order in ORDERS {
        let without = observe(&order, all_rejected, BILLING).await;
        assert_eq!(without.reason, Some(Reason::RateLimited));
        let outermost = with_inspect_at(&[0], order);
        assert_eq!(observe(&outermost, all_rejected, BILLING).await, without);
        for height in 1..=2 {
            let kinds = with_inspect_at(&[height], order);
            let observed = observe(&kinds, all_rejected, BILLING).await;
            assert_eq!(observed.answer, without.answer, "{kinds:?}");
            assert_eq!(observed.trail, without.trail, "{kinds:?}");
        }
    }
}
