//! The gateway itself: a router, and what its handlers share.

mod admission;
mod board;
mod client;
mod config;
mod connections;
mod failure;
mod forward;
mod headers;
mod limits;
pub(crate) mod log;
mod message;
mod meter;
pub(crate) mod metrics;
mod reader;
mod upstream;
mod views;

use std::{borrow::Cow, sync::Arc};

use axum::{Router, middleware::from_fn_with_state, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::time::Instant;

pub(crate) use config::{Config, Mistake, Mistakes, Plan, WITHOUT_FILE};
pub(crate) use connections::serve;
pub(crate) use limits::LimitedListener;

use board::Board;
use limits::Buffers;
use upstream::{Draft, Upstream};

/// What the handlers share.
pub(crate) struct Gateway {
    pub(crate) upstreams: Vec<Upstream>,
    on_loopback: bool,
    board: Arc<Board>,
    buffers: Buffers,
    metrics: PrometheusHandle,
}

impl Gateway {
    /// Returns what is wrong with the upstreams and their keys; the arguments are those of [`new`](Self::new).
    pub(crate) fn mistakes(
        config: &Config,
        mock: &str,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Vec<Mistake> {
        let upstreams = 0..config.upstreams.len();
        let drafts = upstreams.map(|index| Draft::new(config, index, mock, variable));
        drafts.filter_map(Result::err).flatten().collect()
    }

    /// Builds the stacks. `mock` is the mock's address, `variable` reads the environment, and `metrics` is of the
    /// recorder that is installed.
    pub(crate) fn new(
        config: &Config,
        mock: &str,
        variable: &dyn Fn(&str) -> Option<String>,
        metrics: PrometheusHandle,
    ) -> Result<Self, Mistakes> {
        let upstreams = 0..config.upstreams.len();
        let drafts = upstreams.map(|index| Draft::new(config, index, mock, variable));
        let drafts = drafts.collect::<Result<Vec<_>, _>>()?;
        // One client, so that upstreams share its connections.
        let client = client::client(drafts.iter().any(Draft::needs_tls))?;
        let upstreams = drafts.iter();
        let upstreams = upstreams.map(|draft| draft.finish(&drafts, mock, client.clone()));
        Ok(Self {
            upstreams: upstreams.collect(),
            on_loopback: config.is_on_loopback(),
            board: Arc::default(),
            buffers: Buffers::new(config.max_buffered_bytes),
            metrics,
        })
    }

    /// The upstream whose route covers most of the path.
    pub(crate) fn upstream(&self, path: &str) -> Option<&Upstream> {
        let covering = self.upstreams.iter();
        let covering = covering.filter_map(|upstream| Some((upstream.covers(path)?, upstream)));
        let longest = covering.max_by_key(|(length, _)| *length);
        longest.map(|(_, upstream)| upstream)
    }

    pub(crate) fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/", get(views::page))
            .route("/healthz", get(views::health))
            .route("/keys", get(views::keys))
            .route("/rejections", get(views::rejections))
            .route("/metrics", get(views::counted))
            .fallback(forward::forward)
            .layer(from_fn_with_state(self.clone(), admission::by_our_name))
            .with_state(self.clone())
    }
}

/// The longest text of a stranger that is repeated, in bytes.
const REPEATED: usize = 256;

fn is_short(text: &str) -> bool {
    text.len() <= REPEATED
}

/// As much of a text as is repeated.
fn shortened(text: &str) -> Cow<'_, str> {
    if is_short(text) {
        return text.into();
    }
    let mut kept = String::new();
    for char in text.chars() {
        if kept.len() + char.len_utf8() > REPEATED {
            break;
        }
        kept.push(char);
    }
    (kept + "…").into()
}

/// The gateway counts time down for people.
#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}
