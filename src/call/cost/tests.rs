//! Whether the caller, a closure or the estimate determines the cost, and how often tokens are counted.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::Request;

use super::{super::CallState, *};
use crate::call::Limits;

const BODY: Bytes = Bytes::from_static(br#"{"input":"12345678","max_tokens":30}"#);

fn head() -> Head {
    let request = Request::post("https://api.example/v1/chat?x=1").header("x-own", "1");
    Head::of(&request.body(()).unwrap().into_parts().0)
}

fn precise(call: &CallState) -> Option<Cost> {
    call.cost(&head(), Some(BODY.len() as u64), Some(&BODY))
}

/// A closure that counts its calls.
fn counter(cost: Option<Cost>) -> (TokenCounter, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let counter = TokenCounter::new(move |request| {
        assert_eq!(request.method, Method::POST);
        assert_eq!(request.uri.query(), Some("x=1"));
        assert_eq!(request.headers["x-own"], "1");
        assert_eq!(request.body, &BODY);
        count.fetch_add(1, Ordering::Relaxed);
        cost
    });
    (counter, calls)
}

const TEN: Option<Cost> = Some(Cost::new(10, 0));

#[test]
fn cost_of_the_caller_wins_over_closures() {
    let call = CallState::new(Limits::default(), Some(Cost::new(1_200, 400)), false);
    let (counter, calls) = counter(TEN);
    call.add_counter(&counter);
    assert!(call.has_precise_cost());
    assert_eq!(precise(&call), Some(Cost::new(1_200, 400)));
    assert_eq!(call.cost(&head(), None, None), Some(Cost::new(1_200, 400)));
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

#[test]
fn outermost_closure_that_returns_a_cost_wins_and_is_called_once() {
    let call = CallState::default();
    let (none, none_calls) = counter(None);
    let (first, first_calls) = counter(TEN);
    let (second, second_calls) = counter(Some(Cost::new(20, 0)));
    for counter in [&none, &first, &second, &none, &first] {
        call.add_counter(counter);
    }
    for _ in 0..3 {
        assert_eq!(precise(&call), TEN);
    }
    let calls = [none_calls, first_calls, second_calls].map(|it| it.load(Ordering::Relaxed));
    assert_eq!(calls, [1, 1, 0]);
}

#[test]
fn closure_of_an_inner_layer_replaces_the_estimate_of_an_outer_one() {
    let call = CallState::default();
    let (none, none_calls) = counter(None);
    call.add_counter(&none);
    assert_eq!(precise(&call), Some(Cost::new(2, 30)));
    let (inner, _) = counter(TEN);
    call.add_counter(&inner);
    assert_eq!(precise(&call), TEN);
    assert_eq!(none_calls.load(Ordering::Relaxed), 1);
}

#[test]
fn nothing_is_counted_without_a_body() {
    let call = CallState::default();
    let (counter, calls) = counter(TEN);
    call.add_counter(&counter);
    assert_eq!(call.cost(&head(), None, None), None);
    assert_eq!(call.cost(&head(), Some(401), None), Some(Cost::new(101, 0)));
    assert!(!call.has_precise_cost());
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    assert_eq!(precise(&call), TEN);
    assert_eq!(
        call.cost(&head(), Some(401), None),
        TEN,
        "the cost is known now"
    );
    assert!(call.has_precise_cost());
}

#[test]
fn cost_stays_the_same_for_a_changed_body() {
    let call = CallState::default();
    assert_eq!(precise(&call), Some(Cost::new(2, 30)));
    let other = Bytes::from_static(br#"{"max_tokens":5}"#);
    let cost = call.cost(&head(), Some(16), Some(&other));
    assert_eq!(cost, Some(Cost::new(2, 30)));
}

#[test]
fn cost_of_a_streaming_body_comes_from_its_header() {
    let table = [
        ("400", Some(Cost::new(100, 0))),
        ("-1", None),
        ("1e3", None),
        ("", None),
        ("99999999999999999999", None),
    ];
    for (length, cost) in table {
        let mut head = head();
        let value = length.parse().unwrap();
        head.headers.insert(header::CONTENT_LENGTH, value);
        assert_eq!(
            CallState::default().cost(&head, None, None),
            cost,
            "{length}"
        );
    }
}

#[test]
fn closure_may_read_the_call() {
    let call = CallState::default();
    let own = call.clone();
    let counter = TokenCounter::new(move |_| own.attempts().is_empty().then_some(Cost::new(10, 0)));
    call.add_counter(&counter);
    assert_eq!(precise(&call), TEN);
}

#[test]
fn debug_shows_neither_headers_nor_the_body() {
    let head = head();
    let request = CostRequest {
        method: &head.method,
        uri: &head.uri,
        headers: &head.headers,
        body: &BODY,
    };
    assert_eq!(format!("{request:?}"), "CostRequest { method: POST, .. }");
}
