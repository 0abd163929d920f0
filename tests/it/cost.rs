//! The cost of a request in tokens, as the trail reports it. The clock is paused.

use crate::script::*;
use http::{Request, Response};
use tower::{ServiceBuilder, ServiceExt};
use tower_429::{
    BackoffLayer, Call, Cost, CostRequest, FallbackLayer, KeyRotationLayer, trail::Trail,
};

const COST: Cost = Cost::new(1_200, 400);

fn keys() -> KeyRotationLayer {
    KeyRotationLayer::new(pool(&["a", "b"]))
}

fn costing(call: Call) -> Request<String> {
    let mut request = chat("m");
    request.extensions_mut().insert(call);
    request
}

fn costs(response: &Response<String>) -> Vec<Option<Cost>> {
    attempts(response)
        .iter()
        .map(|attempt| attempt.cost)
        .collect()
}

fn trail(response: &Response<String>) -> String {
    let trail = response.extensions().get::<Trail>().expect("a trail");
    trail.to_string()
}

#[tokio::test(start_paused = true)]
async fn trail_reports_the_cost_of_the_caller_for_each_send_of_each_layer() {
    let rejected_once = || Provider::script([limited(1), ok()]);
    let backoff = ServiceBuilder::new()
        .layer(BackoffLayer::new())
        .service(rejected_once());
    let response = backoff.oneshot(costing(Call::new().cost(COST))).await;
    assert_eq!(costs(&response.unwrap()), [Some(COST); 2]);

    let keys = ServiceBuilder::new().layer(keys()).service(rejected_once());
    let response = keys.oneshot(costing(Call::new().cost(COST))).await;
    let response = response.unwrap();
    assert_eq!(costs(&response), [Some(COST); 2]);
    assert_eq!(
        trail(&response),
        "1. key-1: 429 (about 1,600 tokens), key_rotation: next key\n\
         2. key-2: 200 (about 1,600 tokens)"
    );

    let fallback = ServiceBuilder::new()
        .layer(FallbackLayer::new(["other"]))
        .service(rejected_once());
    let response = fallback.oneshot(costing(Call::new().tokens(7))).await;
    let response = response.unwrap();
    assert_eq!(costs(&response), [Some(Cost::new(7, 0)); 2]);
    assert!(trail(&response).ends_with("2. other: 200 (about 7 tokens)"));
}

#[tokio::test(start_paused = true)]
async fn stacked_layers_share_the_cost_of_the_caller() {
    let provider = Provider::script([limited(1), limited(1), limited(1), ok()]);
    let stack = ServiceBuilder::new()
        .layer(FallbackLayer::new(["other"]))
        .layer(keys())
        .layer(BackoffLayer::new().attempts(2))
        .service(provider);
    let response = stack.oneshot(costing(Call::new().cost(COST))).await;
    assert_eq!(costs(&response.unwrap()), [Some(COST); 4]);
}

#[tokio::test(start_paused = true)]
async fn large_costs_are_printed_in_groups_and_are_bounded() {
    let table = [
        (Cost::new(0, 999), "999"),
        (Cost::new(1_000_000, 1), "1,000,001"),
        (Cost::new(u64::MAX, 5), "1,099,511,627,781"),
    ];
    for (cost, printed) in table {
        let stack = ServiceBuilder::new()
            .layer(keys())
            .service(Provider::script([ok()]));
        let response = stack.oneshot(costing(Call::new().cost(cost))).await;
        let expected = format!("1. key-1: 200 (about {printed} tokens)");
        assert_eq!(trail(&response.unwrap()), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn response_made_by_a_layer_has_no_cost() {
    let stack = ServiceBuilder::new()
        .layer(keys().reject_when_exhausted())
        .service(Provider::new(|_| limited(60)));
    let first = stack.clone().oneshot(costing(Call::new().cost(COST))).await;
    assert_eq!(costs(&first.unwrap()), [Some(COST); 2]);
    let second = stack.oneshot(costing(Call::new().cost(COST))).await;
    assert_eq!(costs(&second.unwrap()), [None]);
}

#[tokio::test(start_paused = true)]
async fn tokens_are_not_counted_while_no_limit_of_tokens_is_known() {
    let never = |request: CostRequest<'_>| -> Option<Cost> { panic!("{request:?} was counted") };
    let stack = ServiceBuilder::new()
        .layer(FallbackLayer::new(["other"]).cost(never))
        .layer(keys().cost(never))
        .layer(BackoffLayer::new().attempts(2).cost(never))
        .service(Provider::script([limited(1), limited(1), limited(1), ok()]));
    let response = stack.oneshot(chat("m")).await.unwrap();
    assert_eq!(costs(&response), [None; 4]);
    assert!(!trail(&response).contains("tokens"));
}

#[test]
fn debug_of_a_layer_with_a_closure_names_no_secret() {
    let secret = String::from("a secret of the closure");
    let layer = BackoffLayer::new().cost(move |_| Some(Cost::new(secret.len() as u64, 0)));
    let printed = format!("{layer:?}");
    assert!(printed.contains("TokenCounter"), "{printed}");
    assert!(!printed.contains("secret"), "{printed}");
}
