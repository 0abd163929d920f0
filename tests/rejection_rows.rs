//! Error responses in the wordings, encodings and places of many providers, one row of data each.
//!
//! A row of `tests/data/variants.jsonl` is a response, or an event if it names one, as it arrives at
//! 2026-08-03T12:00:00Z. `hex` is a body that is not UTF-8. `means` is the line that [`summary`] writes.

mod rows;

use std::time::{Duration, SystemTime};

use http::{HeaderMap, Response};
use rows::{rows, text};
use serde_json::Value;
use tower_429::rejection::{Provider, Rejection};

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_785_758_400)
}

/// Reason, dimension, window, scope and hint, and whether time, another key and another model help.
fn summary(rejection: Option<&Rejection>) -> String {
    let Some(it) = rejection else {
        return "none".to_owned();
    };
    let helps = [
        (it.time_helps(), "+time"),
        (it.another_key_helps(), "+key"),
        (it.another_model_helps(), "+model"),
    ];
    let mut words = vec![format!("{:?}", it.reason)];
    words.extend(it.dimension.map(|it| format!("{it:?}")));
    words.extend(it.window.map(|it| format!("{it:?}")));
    words.extend(it.scope.map(|it| format!("@{it:?}")));
    words.extend(it.retry_after.map(|it| format!("{}ms", it.as_millis())));
    words.extend(helps.iter().filter(|it| it.0).map(|it| it.1.to_owned()));
    words.join(" ")
}

fn body(row: &Value) -> Vec<u8> {
    let Some(hex) = row["hex"].as_str() else {
        return text(row, "body").as_bytes().to_vec();
    };
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn read(row: &Value, body: &[u8]) -> Option<Rejection> {
    let host = row["host"].as_str();
    if let Some(event) = row["event"].as_str() {
        let name = Some(event).filter(|name| !name.is_empty());
        return Provider::guess(host, &HeaderMap::new()).event(name, body, now());
    }
    let status = u16::try_from(row["status"].as_u64().unwrap()).unwrap();
    let mut response = Response::builder().status(status);
    for (name, value) in row["headers"].as_object().into_iter().flatten() {
        response = response.header(name, value.as_str().unwrap());
    }
    let (head, ()) = response.body(()).unwrap().into_parts();
    Provider::guess(host, &head.headers).rejection(&head, body, now())
}

#[test]
fn response_means_what_its_row_says_in_every_variant() {
    let mut wrong = Vec::new();
    for row in rows(include_str!("data/variants.jsonl")) {
        let read = summary(read(&row, &body(&row)).as_ref());
        if read != text(&row, "means") {
            wrong.push(format!(
                "{}\n  read {read}\n  row  {}",
                text(&row, "name"),
                text(&row, "means")
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

#[test]
fn body_cut_off_anywhere_is_read_without_panic() {
    for row in rows(include_str!("data/variants.jsonl")) {
        let body = body(&row);
        for end in (0..body.len()).step_by(7) {
            read(&row, &body[..end]);
            read(&row, &body[end..]);
        }
    }
}
