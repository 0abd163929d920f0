//! A caller's request on its way to an upstream, and the answer on its way back.

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
    connections::{PATIENCE, Unread},
    failure::{Asked, Failure},
    headers::{self, ATTEMPTS, DEADLINE, KEY, PRIORITY, SERVED_MODEL, WAITED},
    is_short, message, metrics, now,
    upstream::Upstream,
};

/// JSON up to this size is taken in whole: a model in it is found only so, and limits are per model.
pub(crate) const WHOLE: u64 = 2 * 1024 * 1024;

pub(crate) async fn forward(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let asked = Asked::new(&request);
    let upstream = gateway.upstream(request.uri().path());
    let admitted = admit(&request).and_then(|()| upstream.ok_or(Failure::NoRoute));
    let response = match admitted {
        Ok(upstream) => ask(&gateway, upstream, &asked, request).await,
        Err(failure) => failure.answer(&asked, upstream),
    };
    metrics::answered(upstream, response.status());
    response
}

async fn ask(gateway: &Gateway, upstream: &Upstream, asked: &Asked, request: Request) -> Response {
    let refuse = |failure: Failure| failure.answer(asked, Some(upstream));
    let deadline = match deadline(request.headers(), upstream.deadline) {
        Ok(deadline) => deadline,
        Err(failure) => return refuse(failure),
    };
    let by_route = upstream.priority(request.uri().path());
    let priority = match priority(request.headers(), by_route) {
        Ok(priority) => priority,
        Err(failure) => return refuse(failure),
    };
    let request = match upstream.address(request) {
        Ok(request) => request,
        Err(failure) => return refuse(failure),
    };
    // Until the answer begins, the layers may send the body again.
    let kept = kept(&request, upstream.replay_limit);
    let Some(_reserved) = gateway.buffers.reserve(kept) else {
        return refuse(Failure::Full);
    };
    let begun = now();
    let request = match within(deadline, whole(request)).await {
        Ok(request) => request,
        Err(failure) => return refuse(failure),
    };
    // The caller's own upload is no wait of ours, but has taken its part of the deadline.
    let left = deadline.map(|deadline| deadline.saturating_sub(now() - begun));
    let call = match left {
        // What cannot be waited for is then told at once, in the provider's own words.
        Some(left) => Call::new().deadline(left),
        None => Call::new(),
    };
    // Dropped with this future if the caller goes away, and the request to the upstream with it.
    let watching = gateway.board.watch(&upstream.name, &call);
    let mut response = match within(left, send(upstream, request, priority, &watching)).await {
        Ok(mut response) => {
            headers::drop_hop_by_hop(response.headers_mut());
            headers::isolate(response.headers_mut());
            *response.version_mut() = Version::HTTP_11;
            response
        }
        Err(failure) => refuse(failure),
    };
    tell(&watching, response.headers_mut());
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

/// A request, with its body in memory if that is JSON and small.
async fn whole(request: Request) -> Result<Request, Failure> {
    if !is_small_json(request.headers()) {
        return Ok(request);
    }
    let (head, body) = request.into_parts();
    let body = Limited::new(body, usize::try_from(WHOLE).unwrap_or(usize::MAX));
    // A caller that sends a byte now and then is never silent for long.
    let body = timeout(PATIENCE, body.collect()).await;
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
    // The version, too, is of one hop.
    head.version = Version::HTTP_11;
    // What axum has noted is of the caller's connection.
    head.extensions.clear();
    head.extensions.insert(watching.watched.call.clone());
    head.extensions.insert(watching.watched.meter.clone());
    head.extensions.insert(priority);

    let mut stack = upstream.stack.clone();
    let stack = stack.ready().await.map_err(Failure::Upstream)?;
    let answer = stack.call(Request::from_parts(head, body)).await;
    let answer = answer.map_err(Failure::sending)?;
    message::check_answer(&answer)?;
    Ok(answer)
}

/// The most of the body of a request that is in memory at once.
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
    kind.starts_with("application/json") && length.is_some_and(|length| length <= WHOLE)
}

/// What the caller asks for, or else what the configuration says.
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

/// What the caller says, or else what the configuration says of the path.
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

/// Says how the answer came about.
fn tell(watching: &Watching, headers: &mut HeaderMap) {
    let attempts = watching.watched.call.trail().attempts();
    headers.insert(ATTEMPTS, HeaderValue::from(watching.watched.meter.sends()));
    headers.insert(WAITED, HeaderValue::from(millis(watching.waited())));
    for name in [&SERVED_MODEL, &KEY] {
        // An upstream that is a gateway of this kind may have said the same of itself.
        headers.remove(name);
    }
    let Some(last) = attempts.last() else {
        return;
    };
    // A part of a name would be another name.
    let model = last.model.as_deref().filter(|model| is_short(model));
    for (name, text) in [(SERVED_MODEL, model), (KEY, last.key.as_deref())] {
        let value = text.map(HeaderValue::from_str);
        if let Some(Ok(value)) = value {
            headers.insert(name, value);
        }
    }
}
