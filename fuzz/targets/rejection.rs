//! Heads and error bodies: parsing never panics, and the head of a success is never a rejection.
//!
//! The input is a status byte, header lines, an empty line and a body.

#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderName, HeaderValue, Response, response};
use libfuzzer_sys::fuzz_target;
use tower_429::rejection::{Provider, Rejection, buckets};

const STATUSES: [u16; 16] = [
    200, 400, 401, 402, 403, 404, 408, 412, 413, 422, 429, 498, 500, 502, 503, 529,
];

const PROVIDERS: [Provider; 4] = [
    Provider::Generic,
    Provider::Azure,
    Provider::Groq,
    Provider::OpenRouter,
];

fuzz_target!(|input: &[u8]| {
    let Some((head, body)) = read(input) else {
        return;
    };
    let now = UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    let from_head = Rejection::from_head(&head, now);
    assert!(
        head.status.as_u16() >= 400 || from_head.is_none(),
        "the head of a success was classified as a rejection"
    );
    for rejection in [from_head, Rejection::from_parts(&head, body, now)]
        .into_iter()
        .flatten()
    {
        let year = Duration::from_secs(366 * 24 * 60 * 60);
        assert!(rejection.available_at.is_none_or(|at| at <= now + year));
        // Outer layers call these.
        let _ = (rejection.time_helps(), rejection.another_key_helps());
    }
    for provider in PROVIDERS {
        let _ = buckets(&head.headers, provider, now);
    }
});

fn read(input: &[u8]) -> Option<(response::Parts, &[u8])> {
    let (status, rest) = input.split_first()?;
    let end = rest.windows(2).position(|pair| pair == b"\n\n");
    let (lines, body) = match end {
        Some(end) => (&rest[..end], &rest[end + 2..]),
        None => (rest, &[][..]),
    };
    let status = STATUSES[usize::from(*status) % STATUSES.len()];
    let (mut head, ()) = Response::builder()
        .status(status)
        .body(())
        .ok()?
        .into_parts();
    for line in lines.split(|byte| *byte == b'\n').take(64) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        head.headers.append(name, value);
    }
    Some((head, body))
}
