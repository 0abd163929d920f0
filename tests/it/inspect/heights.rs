//! At whatever height of a stack the layer stands, once or twice, it does no harm.

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

/// The layers of `kinds` from the outside in; no wait is random.
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
            Kind::Fallback => erase(FallbackLayer::new(["lesser"]).layer(client)),
            Kind::Inspect => erase(InspectLayer::new().layer(client)),
        };
    }
    client
}

/// How a call went: all that the provider and the caller saw.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    answer: String,
    trail: String,
    asked: Vec<(Duration, String, String)>,
    reason: Option<Reason>,
}

type Answers = fn(&Seen) -> Answer;

async fn observe(kinds: &[Kind], answers: Answers, body: &'static str) -> Told {
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
    Told {
        answer: format!("{} {:?} {whole:?}", head.status, head.headers),
        trail: head.extensions.get::<Trail>().unwrap().to_string(),
        asked: provider
            .seen()
            .iter()
            .map(|seen| (seen.at, seen.key().to_owned(), seen.model()))
            .collect(),
        reason: rejection.map(|rejection| rejection.reason),
    }
}

fn with_inspect_at(heights: &[usize], order: [Kind; 3]) -> Vec<Kind> {
    let mut kinds = order.to_vec();
    // From the inside out, so that the heights further out stay what they are.
    for height in heights.iter().rev() {
        kinds.insert(*height, Kind::Inspect);
    }
    kinds
}

/// What a provider does whose heads say everything.
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
async fn where_the_head_says_everything_every_height_and_two_heights_give_the_same() {
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
async fn where_only_the_body_says_it_the_innermost_place_serves_all_layers() {
    for order in ORDERS {
        for heights in [&[3][..], &[0, 3], &[3, 3], &[1, 2, 3]] {
            let kinds = with_inspect_at(heights, order);
            let told = observe(&kinds, all_rejected, BILLING).await;
            assert_eq!(told.reason, Some(Reason::QuotaExhausted), "{kinds:?}");
            assert!(told.answer.contains("No credits."), "{kinds:?}");
            let keys: HashSet<_> = told.asked.iter().map(|(_, key, _)| key).collect();
            let models: HashSet<_> = told.asked.iter().map(|(_, _, model)| model).collect();
            assert_eq!(
                (keys.len(), models.len()),
                (2, 2),
                "{kinds:?}\n{}",
                told.trail
            );
            assert!(!told.trail.contains("wait of"), "{kinds:?}\n{}", told.trail);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn further_out_it_says_what_the_layers_inside_have_made_of_it_and_hands_the_body_on() {
    for order in ORDERS {
        let without = observe(&order, all_rejected, BILLING).await;
        assert_eq!(without.reason, Some(Reason::RateLimited));
        let outermost = with_inspect_at(&[0], order);
        assert_eq!(observe(&outermost, all_rejected, BILLING).await, without);
        for height in 1..=2 {
            let kinds = with_inspect_at(&[height], order);
            let told = observe(&kinds, all_rejected, BILLING).await;
            assert_eq!(told.answer, without.answer, "{kinds:?}");
            assert_eq!(told.trail, without.trail, "{kinds:?}");
        }
    }
}
