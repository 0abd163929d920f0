//! What the gateway shows of itself. Keys have labels here, and nothing else.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::header,
    response::{Html, IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio::time::Instant;
use tower_429::key_rotation::{GroupSource, KeyState, LimitSnapshot};

use super::{Gateway, board::millis, metrics, now, shortened};

/// Nothing is loaded from elsewhere, and nothing may frame it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      connect-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'";

pub(crate) async fn page() -> Response {
    let policy = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (policy, Html(include_str!("page.html"))).into_response()
}

pub(crate) async fn health() -> &'static str {
    "ok\n"
}

pub(crate) async fn keys(State(gateway): State<Arc<Gateway>>) -> Json<Value> {
    let now = now();
    let upstreams = gateway.upstreams.iter();
    let upstreams = upstreams.map(|upstream| {
        let keys = upstream.pool.snapshot();
        let keys: Vec<Value> = keys.iter().map(|state| key(state, now)).collect();
        json!({ "upstream": &*upstream.name, "keys": keys })
    });
    Json(upstreams.collect())
}

pub(crate) async fn rejections(State(gateway): State<Arc<Gateway>>) -> Json<Value> {
    Json(gateway.board.rejections())
}

pub(crate) async fn counted(State(gateway): State<Arc<Gateway>>) -> Response {
    let text = metrics::render(&gateway.upstreams, &gateway.metrics);
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (kind, text).into_response()
}

fn key(state: &KeyState, now: Instant) -> Value {
    let left = |until| time_to(until, now);
    let models = state.limited_models.iter();
    let limits = state.limits.iter().map(|known| limit(known, now));
    let models: Vec<Value> = models
        .map(|limited| {
            json!({
                "model": shortened(&limited.model),
                "reason": format!("{:?}", limited.reason),
                "is_reported": limited.is_reported,
                "free_in_ms": left(limited.until),
            })
        })
        .collect();
    json!({
        "label": &*state.label,
        "group": state.group.as_deref().map(shortened),
        "group_source": state.group_source.map(GroupSource::as_str),
        "cooldown_reason": state.cooldown_reason.map(|reason| format!("{reason:?}")),
        "cooldown_is_reported": state.cooldown_is_reported,
        "free_in_ms": state.cooldown_until.map(left),
        "limited_models": models,
        "limits": limits.collect::<Vec<_>>(),
        "uses": state.uses,
        "rejections": state.rejections,
        "in_flight": state.in_flight,
    })
}

fn limit(known: &LimitSnapshot, now: Instant) -> Value {
    json!({
        "dimension": format!("{:?}", known.dimension),
        "window": known.window.map(|window| format!("{window:?}")),
        "model": known.model.as_deref().map(shortened),
        "limit": known.limit,
        "remaining": known.remaining,
        "reserved": known.reserved,
        "resets_in_ms": known.resets.map(|resets| time_to(resets, now)),
        "is_learned": known.is_learned,
    })
}

/// Returns the milliseconds until then, rounded up: a key that has some time left is not free.
fn time_to(until: Instant, now: Instant) -> u64 {
    let left = until.saturating_duration_since(now);
    millis(left + Duration::from_nanos(999_999))
}
