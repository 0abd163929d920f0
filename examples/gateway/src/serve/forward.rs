//! Forwards a caller's request to an upstream, and the response to the caller.

use std::{future::Future, sync::Arc, time::Duration};

use axum::{
    body::{Body, HttpBody},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Version, header},
    response::Response,
};
use http_body_util::{BodyExt, Limited};
use tokio::time::timeout;
use tower::{Service, ServiceExt};
use tower_429::{Call, Priority};

use super::{
    Gateway,
    admission::admit,
    board::{Watching, millis},
    connections::{MAX_SILENCE, Unread},
    failure::{Failure, RequestLine},
    headers::{self, ATTEMPTS, DEADLINE, KEY, PRIORITY, SERVED_MODEL, WAITED},
    is_short, message, metrics, now,
    upstream::Upstream,
};

/// JSON up to this size is read before it is sent, because the layers need its model: limits are per model.
pub(crate) const MAX_JSON: u64 = 2 * 1024 * 1024;

pub(crate) async fn forward(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let line = RequestLine::new(&request);
    let upstream = gateway.upstream(request.uri().path());
    let admitted = admit(&request).and_then(|()| upstream.ok_or(Failure::NoRoute));
    let response = match admitted {
        Ok(upstream) => handle(&gateway, upstream, &line, request).await,
        Err(failure) => failure.response(&line, upstream),
    };
    metrics::count_response(upstream, response.status());
    response
}

async fn handle(
    gateway: &Gateway,
    upstream: &Upstream,
    line: &RequestLine,
    request: Request,
) -> Response {
    let reject = |failure: Failure| failure.response(line, Some(upstream));
    let deadline = match deadline(request.headers(), upstream.deadline) {
        Ok(deadline) => deadline,
        Err(failure) => return reject(failure),
    };
    let by_route = upstream.priority(request.uri().path());
    let priority = match priority(request.headers(), by_route) {
        Ok(priority) => priority,
        Err(failure) => return reject(failure),
    };
    let request = match upstream.address(request) {
        Ok(request) => request,
        Err(failure) => return reject(failure),
    };
    // The layers may send the body again until the response begins.
    let kept = kept(&request, upstream.replay_limit);
    let Some(_reserved) = gateway.buffers.reserve(kept) else {
        return reject(Failure::Full);
    };
    let begun = now();
    let request = match within(deadline, read_json(request)).await {
        Ok(request) => request,
        Err(failure) => return reject(failure),
    };
    // The upload does not count as a wait of the gateway, but it uses up a part of the deadline.
    let left = deadline.map(|deadline| deadline.saturating_sub(now() - begun));
    let call = match left {
        // If a wait exceeds the deadline, the layers return the provider's rejection at once.
        Some(left) => Call::new().deadline(left),
        None => Call::new(),
    };
    // If the caller disconnects, this future is dropped, and with it the entry and the request to the upstream.
    let watching = gateway.board.watch(&upstream.name, &call);
    let mut response = match within(left, send(upstream, request, priority, &watching)).await {
        Ok(mut response) => {
            headers::drop_hop_by_hop(response.headers_mut());
            headers::isolate(response.headers_mut());
            *response.version_mut() = Version::HTTP_11;
            response
        }
        Err(failure) => reject(failure),
    };
    add_report(&watching, response.headers_mut());
    response
}

async fn within<T>(
    deadline: Option<Duration>,
    future: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match deadline {
        Some(deadline) => timeout(deadline, future)
            .await
            .unwrap_or(Err(Failure::TooLate(deadline))),
        None => future.await,
    }
}

/// Reads the body of a request into memory if it is small JSON.
async fn read_json(request: Request) -> Result<Request, Failure> {
    if !is_small_json(request.headers()) {
        return Ok(request);
    }
    let (head, body) = request.into_parts();
    let body = Limited::new(body, usize::try_from(MAX_JSON).unwrap_or(usize::MAX));
    // The total time is bounded too, because a caller that sends single bytes is never silent for long.
    let body = timeout(MAX_SILENCE, body.collect()).await;
    let body = body.map_err(|_| Failure::Unread(Unread::Silent))?;
    let body = body.map_err(Failure::reading)?.to_bytes();
    Ok(Request::from_parts(head, Body::from(body)))
}

async fn send(
    upstream: &Upstream,
    request: Request,
    priority: Priority,
    watching: &Watching,
) -> Result<Response, Failure> {
    let (mut head, body) = request.into_parts();
    headers::prepare(&mut head.headers);
    // The version is that of one hop, too.
    head.version = Version::HTTP_11;
    // The extensions by axum describe the caller's connection.
    head.extensions.clear();
    head.extensions.insert(watching.watched.call.clone());
    head.extensions.insert(watching.watched.meter.clone());
    head.extensions.insert(priority);

    let mut stack = upstream.stack.clone();
    let stack = stack.ready().await.map_err(Failure::Upstream)?;
    let response = stack.call(Request::from_parts(head, body)).await;
    let response = response.map_err(Failure::sending)?;
    message::check_response(&response)?;
    Ok(response)
}

/// Returns the most bytes of a request's body that are in memory at once.
fn kept(request: &Request, replay_limit: u64) -> u64 {
    match request.body().size_hint().exact() {
        Some(length) if is_small_json(request.headers()) => length,
        Some(length) if length > replay_limit => 0,
        Some(length) => length,
        None => replay_limit,
    }
}

fn is_small_json(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let kind = text(header::CONTENT_TYPE).unwrap_or_default();
    let length = text(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    kind.starts_with("application/json") && length.is_some_and(|length| length <= MAX_JSON)
}

/// Returns the caller's deadline, or else the configured one.
fn deadline(headers: &HeaderMap, default: Option<Duration>) -> Result<Option<Duration>, Failure> {
    let Some(value) = headers.get(DEADLINE) else {
        return Ok(default);
    };
    let millis = value.to_str().ok().and_then(|value| value.parse().ok());
    let millis = millis.filter(|millis| *millis > 0);
    Ok(Some(Duration::from_millis(
        millis.ok_or(Failure::Deadline)?,
    )))
}

/// Returns the caller's priority, or else the configured one of the path.
fn priority(headers: &HeaderMap, default: Priority) -> Result<Priority, Failure> {
    let Some(value) = headers.get(PRIORITY) else {
        return Ok(default);
    };
    match value.as_bytes() {
        b"interactive" => Ok(Priority::Interactive),
        b"background" => Ok(Priority::Background),
        _ => Err(Failure::Priority),
    }
}

/// Adds the headers that report the attempts of the call.
fn add_report(watching: &Watching, headers: &mut HeaderMap) {
    let attempts = watching.watched.call.trail().attempts();
    headers.insert(ATTEMPTS, HeaderValue::from(watching.watched.meter.sends()));
    headers.insert(WAITED, HeaderValue::from(millis(watching.waited())));
    for name in [&SERVED_MODEL, &KEY] {
        // The upstream may be such a gateway too, and have added its own.
        headers.remove(name);
    }
    let Some(last) = attempts.last() else {
        return;
    };
    // A long name is left out, because a part of it would be another name.
    let model = last.model.as_deref().filter(|model| is_short(model));
    for (name, text) in [(SERVED_MODEL, model), (KEY, last.key.as_deref())] {
        let value = text.map(HeaderValue::from_str);
        if let Some(Ok(value)) = value {
            headers.insert(name, value);
        }
    }
}
