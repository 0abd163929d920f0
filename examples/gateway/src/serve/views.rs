//! The page and the data that the gateway shows. They contain labels instead of keys.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::header,
    response::{Html, IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio::time::Instant;
use tower_429::{
    key_rotation::{GroupSource, KeyState, LimitSnapshot},
    share::SharingSnapshot,
};

use super::{Gateway, board::millis, metrics, now, shortened};

/// The page loads nothing from elsewhere, and no page may frame it.
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

pub(crate) async fn share(State(gateway): State<Arc<Gateway>>) -> Json<Value> {
    let now = now();
    let sharing = gateway.sharing.as_ref();
    let shown = sharing.map(|sharing| shared(&sharing.snapshot(), now));
    Json(shown.unwrap_or_default())
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
                "is_remote": limited.is_remote,
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
        "cooldown_is_remote": state.cooldown_is_remote,
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

fn shared(snapshot: &SharingSnapshot, now: Instant) -> Value {
    let ago = |responded| millis(now.saturating_duration_since(responded));
    let leases = snapshot.leases.iter().map(|leased| {
        json!({
            "unit": leased.unit.as_str(),
            "idle": leased.idle,
            "in_flight": leased.in_flight,
        })
    });
    json!({
        "state": snapshot.state.as_str(),
        "processes": snapshot.replicas,
        "responded_ago_ms": snapshot.responded.map(ago),
        "leases": leases.collect::<Vec<_>>(),
    })
}

/// Returns the milliseconds until a time. They are rounded up, because a key is not free before that time.
fn time_to(until: Instant, now: Instant) -> u64 {
    let left = until.saturating_duration_since(now);
    millis(left + Duration::from_nanos(999_999))
}
