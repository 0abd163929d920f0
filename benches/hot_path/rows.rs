//! The rows of the table.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Layer, Service};
use tower_429::{BackoffLayer, FallbackLayer, InspectLayer, KeyRotationLayer};

use crate::{
    provider::{LIMITS, Provider, USUAL, send, send_all},
    stacks::{body, layers, pool, request, retries},
};

pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Sends so many requests that are counted, after some that are not.
    pub(crate) run: fn(usize),
}

/// What the headers of the response tell.
type Reports = &'static [&'static [(&'static str, &'static str)]];
const NOTHING: Reports = &[USUAL];
const TWO_LIMITS: Reports = &[USUAL, LIMITS];

fn through<S, R>(sends: usize, reports: Reports, turns: usize, stack: impl FnOnce(Provider) -> S)
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error = Infallible>,
{
    let mut service = stack(Provider::new(StatusCode::OK, reports));
    let request = request("https://api.openai.com", body(turns));
    // The first ones learn what later ones know.
    for _ in 0..20 {
        send(&mut service, request.clone());
    }
    send_all(&mut service, vec![request; sends]);
}

/// Three turns are a body of 1 KiB.
pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "bare service",
        run: |sends| through(sends, NOTHING, 3, |provider| provider),
    },
    Row {
        name: "three `tower::retry` layers",
        run: |sends| through(sends, NOTHING, 3, |provider| retries().service(provider)),
    },
    Row {
        name: "Backoff",
        run: |sends| {
            through(sends, NOTHING, 3, |provider| {
                BackoffLayer::new().layer(provider)
            });
        },
    },
    Row {
        name: "KeyRotation",
        run: |sends| {
            through(sends, NOTHING, 3, |provider| {
                KeyRotationLayer::new(pool()).layer(provider)
            });
        },
    },
    Row {
        name: "Fallback",
        run: |sends| {
            through(sends, NOTHING, 3, |provider| {
                FallbackLayer::new(["gpt-4o-mini"]).layer(provider)
            });
        },
    },
    Row {
        name: "three layers",
        run: |sends| through(sends, NOTHING, 3, |provider| layers().service(provider)),
    },
    Row {
        name: "four layers (with Inspect)",
        run: |sends| {
            through(sends, NOTHING, 3, |provider| {
                layers().layer(InspectLayer::new()).service(provider)
            });
        },
    },
    Row {
        name: "KeyRotation, the response reports two limits",
        run: |sends| {
            through(sends, TWO_LIMITS, 3, |provider| {
                KeyRotationLayer::new(pool()).layer(provider)
            });
        },
    },
    Row {
        name: "three layers, the response reports two limits",
        run: |sends| through(sends, TWO_LIMITS, 3, |provider| layers().service(provider)),
    },
    Row {
        name: "four layers, the response reports two limits",
        run: |sends| {
            through(sends, TWO_LIMITS, 3, |provider| {
                layers().layer(InspectLayer::new()).service(provider)
            });
        },
    },
    Row {
        name: "three layers, a body of 100 KiB",
        run: |sends| through(sends, NOTHING, 340, |provider| layers().service(provider)),
    },
];
