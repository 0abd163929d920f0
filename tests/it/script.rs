//! The scripted provider, and what the layers report about a call.

#![allow(dead_code, unused_imports)] // No binary needs everything.

use std::time::Duration;

use http::Response;
pub(crate) use mock_provider::{Answer, Provider, Seen, chat, limited, ok, rejected, secs, status};
use tower_429::{
    KeyPool,
    rejection::Rejection,
    trail::{Action, Attempt, LayerKind, StopReason, Trail},
};

pub(crate) fn attempts<R>(response: &Response<R>) -> Vec<Attempt> {
    let trail = response.extensions().get::<Trail>().expect("a trail");
    trail.attempts()
}

/// Returns the steps of each attempt.
pub(crate) fn steps<R>(response: &Response<R>) -> Vec<Vec<(LayerKind, Action)>> {
    let of = |attempt: &Attempt| {
        let steps = attempt.steps.iter();
        steps.map(|step| (step.layer, step.action)).collect()
    };
    attempts(response).iter().map(of).collect()
}

/// Returns why the layers returned the last attempt, the innermost first.
pub(crate) fn whys<R>(response: &Response<R>) -> Vec<(LayerKind, StopReason)> {
    let steps = steps(response).pop().expect("an attempt");
    let why = |(layer, action)| match action {
        Action::Return(why) => Some((layer, why)),
        _ => None,
    };
    steps.into_iter().filter_map(why).collect()
}

/// Returns the rejection that the response carries for outer layers.
pub(crate) fn rejection<R>(response: &Response<R>) -> Rejection {
    response
        .extensions()
        .get::<Rejection>()
        .expect("a rejection")
        .clone()
}

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn pool(keys: &[&str]) -> KeyPool {
    KeyPool::new(keys.iter().copied()).unwrap()
}
