//! The gateway: its router, and the state that the handlers share.

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
pub(crate) mod share;
mod upstream;
mod views;

use std::{borrow::Cow, sync::Arc};

use axum::{Router, middleware::from_fn_with_state, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::time::Instant;
use tower_429::share::Sharing;

pub(crate) use config::{Config, Mistake, Mistakes, Plan, WITHOUT_FILE};
pub(crate) use connections::serve;
pub(crate) use limits::LimitedListener;

use board::Board;
use limits::Buffers;
use upstream::{Draft, Upstream};

/// The state that the handlers share.
pub(crate) struct Gateway {
    pub(crate) upstreams: Vec<Upstream>,
    on_loopback: bool,
    board: Arc<Board>,
    buffers: Buffers,
    metrics: PrometheusHandle,
    /// What the upstreams share through, if they share their limits with other gateways.
    sharing: Option<Sharing>,
}

impl Gateway {
    /// Returns the mistakes of the upstreams, their keys and what they share. The arguments are those of
    /// [`new`](Self::new).
    pub(crate) fn mistakes(
        config: &Config,
        mock: &str,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Vec<Mistake> {
        let upstreams = 0..config.upstreams.len();
        let drafts = upstreams.map(|index| Draft::new(config, index, mock, variable, None));
        let mistakes = drafts.filter_map(Result::err).flatten();
        let shared = share::connect(config, variable).err();
        mistakes.chain(shared.into_iter().flatten()).collect()
    }

    /// Builds the stacks. `mock` is the mock's address, `variable` reads the environment, `metrics` is the handle of
    /// the installed recorder, and `sharing` is what the upstreams share through.
    pub(crate) fn new(
        config: &Config,
        mock: &str,
        variable: &dyn Fn(&str) -> Option<String>,
        metrics: PrometheusHandle,
        sharing: Option<Sharing>,
    ) -> Result<Self, Mistakes> {
        let upstreams = 0..config.upstreams.len();
        let shared = sharing.as_ref();
        let drafts = upstreams.map(|index| Draft::new(config, index, mock, variable, shared));
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
            sharing,
        })
    }

    /// Returns the upstream whose route covers most of the path.
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
            .route("/share", get(views::share))
            .route("/metrics", get(views::counted))
            .fallback(forward::forward)
            .layer(from_fn_with_state(self.clone(), admission::check_host))
            .with_state(self.clone())
    }
}

/// The longest untrusted text that is repeated, in bytes.
const MAX_REPEATED: usize = 256;

fn is_short(text: &str) -> bool {
    text.len() <= MAX_REPEATED
}

/// Truncates a text to what is repeated.
fn shortened(text: &str) -> Cow<'_, str> {
    if is_short(text) {
        return text.into();
    }
    let mut kept = String::new();
    for char in text.chars() {
        if kept.len() + char.len_utf8() > MAX_REPEATED {
            break;
        }
        kept.push(char);
    }
    (kept + "…").into()
}

/// The gateway measures waits, and shows cooldowns.
#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}
