//! Rates that are called quotas, quotas that are called rates, and codes that only their provider uses:
//! what they mean, and what each layer does about them.

#![allow(clippy::disallowed_methods)] // a test under a paused clock may look at it

mod foreign;
mod layers;
mod plans;
mod quotas;
mod rates;
#[path = "../script/mod.rs"]
mod script;
mod successes;

use std::time::{Duration, SystemTime};

use http::{HeaderMap, Response};
use tower_429::rejection::{Provider, Rejection};

/// 2026-05-31T10:04:00Z
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_221_840)
}

fn read(host: &str, status: u16, body: &str) -> Option<Rejection> {
    let (head, ()) = Response::builder()
        .status(status)
        .body(())
        .unwrap()
        .into_parts();
    let provider = Provider::guess(Some(host), &HeaderMap::new());
    provider.rejection(&head, body.as_bytes(), now())
}

/// Reason, limit, hint and owner, and whether time, another key and another model help.
fn short(rejection: Option<&Rejection>) -> String {
    let Some(it) = rejection else {
        return "none".to_owned();
    };
    let words = [
        Some(format!("{:?}", it.reason)),
        it.dimension.map(|it| format!("{it:?}")),
        it.window.map(|it| format!("{it:?}")),
        it.retry_after.map(|it| format!("{}ms", it.as_millis())),
        it.scope.map(|it| format!("of {it:?}")),
        it.time_helps().then(|| "+time".to_owned()),
        it.another_key_helps().then(|| "+key".to_owned()),
        it.another_model_helps().then(|| "+model".to_owned()),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Host, status, body, and what they mean in [`short`].
type Row = (&'static str, u16, &'static str, &'static str);

#[track_caller]
fn check(rows: &[Row]) {
    let mut wrong = Vec::new();
    for (host, status, body, expected) in rows {
        let read = short(read(host, *status, body).as_ref());
        if read != *expected {
            wrong.push(format!(
                "{host} {status} {body}\n  read     {read}\n  expected {expected}"
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differences:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
