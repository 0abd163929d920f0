//! The stack of an upstream: it tries another key first, then waits, then tries another model.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::Request,
    http::{Response, Uri, uri},
};
use tower::ServiceBuilder;
use tower_429::{
    BackoffLayer, FallbackLayer, InspectLayer, KeyPool, KeyRotationLayer, Priority,
    fallback::Target, inspect::InspectedBody, share::Sharing,
};

use super::{
    client::Client,
    config::{Config, KeyIn, Mistake, UpstreamConfig, covered},
    failure::Failure,
    headers,
    meter::Metered,
    reader::Reader,
};
use crate::mock;

/// The destination of requests to some paths.
pub(crate) struct Upstream {
    pub(crate) name: Arc<str>,
    pub(crate) pool: KeyPool,
    pub(crate) stack: Client,
    pub(crate) deadline: Option<Duration>,
    pub(crate) replay_limit: u64,
    base: Uri,
    /// The most bytes that are added before a path and after its query.
    added: usize,
    routes: Vec<String>,
    background_routes: Vec<String>,
}

/// The longest URI of `http`, and its longest path and query. If they became longer, the layers could add neither a
/// key nor the path of a target.
const LONGEST: usize = 65_534;

/// An upstream without the keys of the other upstreams.
pub(crate) struct Draft<'a> {
    config: &'a UpstreamConfig,
    base: Uri,
    targets: Vec<Target>,
    pool: KeyPool,
    /// What the pool and the targets share through.
    sharing: Option<Sharing>,
    replicas: u32,
    /// The most bytes of a key in the query.
    parameter: usize,
}

impl<'a> Draft<'a> {
    /// Reads an upstream and its keys, or returns all its mistakes. `mock` is the address of the mock, and `sharing` is
    /// what all upstreams share through.
    pub(crate) fn new(
        file: &'a Config,
        index: usize,
        mock: &str,
        variable: &dyn Fn(&str) -> Option<String>,
        sharing: Option<&Sharing>,
    ) -> Result<Self, Vec<Mistake>> {
        let config = &file.upstreams[index];
        let mut reader = Reader {
            file,
            index,
            mistakes: Vec::new(),
        };
        let base = reader.base(mock);
        let targets = reader.targets(base.as_ref(), mock);
        let keys = reader.keys(variable);
        // Upstreams at one address may have the same keys, and each tracks their limits separately.
        let sharing = sharing.map(|sharing| sharing.scoped(&config.name));
        let pool = base.as_ref();
        let pool = pool.and_then(|base| reader.pool(keys, base, sharing.as_ref()));
        match (base, pool) {
            (Some(base), Some(pool)) if reader.mistakes.is_empty() => Ok(Self {
                config,
                base,
                targets,
                pool,
                sharing,
                replicas: file.replicas,
                parameter: parameter(config, variable),
            }),
            _ => Err(reader.mistakes),
        }
    }

    /// Returns whether a request for this upstream may go to an https address.
    pub(crate) fn needs_tls(&self) -> bool {
        let targets = self.config.fallback.iter();
        let mut targets = targets.filter_map(|target| target.at.as_deref());
        let is_https = |at: &str| {
            let scheme = at.split_once("://").map(|(scheme, _)| scheme);
            scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"))
        };
        self.base.scheme() == Some(&uri::Scheme::HTTPS) || targets.any(is_https)
    }

    /// Builds the stack. Requests to a target elsewhere have the keys of the upstream at that address.
    pub(crate) fn finish(&self, all: &[Draft<'_>], mock: &str, client: Client) -> Upstream {
        let config = self.config;
        let max_wait = Duration::from_millis(config.max_wait_ms);

        // Its own pool comes first, because the layer uses the first pool for an origin.
        let rotation = KeyRotationLayer::new(self.pool.clone());
        let others = all.iter().filter(|other| other.config.name != config.name);
        let rotation = others.fold(rotation, |rotation, other| {
            rotation.pool(other.pool.clone())
        });

        let fallback = FallbackLayer::new(self.targets.clone())
            .max_sends(config.max_sends)
            .replay_limit(config.replay_limit_bytes)
            .replicas(self.replicas);
        let fallback = match &self.sharing {
            Some(sharing) => fallback.shared(sharing.clone()),
            None => fallback,
        };

        let stack = ServiceBuilder::new()
            .layer(fallback)
            .layer(
                BackoffLayer::new()
                    .max_wait(max_wait)
                    .replay_limit(config.replay_limit_bytes),
            )
            .layer(
                rotation
                    .wait_when_exhausted(max_wait)
                    .replay_limit(config.replay_limit_bytes),
            )
            .layer_fn(Metered)
            .map_response(|response: Response<InspectedBody<Body>>| response.map(Body::new))
            .layer(InspectLayer::new().first_event(Duration::from_millis(config.first_event_ms)))
            .service(client);
        Upstream {
            name: config.name.as_str().into(),
            pool: self.pool.clone(),
            stack: Client::new(stack),
            deadline: config.deadline_ms.map(Duration::from_millis),
            replay_limit: config.replay_limit_bytes,
            base: self.base.clone(),
            added: self.added(all, mock),
            routes: config.routes.clone(),
            background_routes: config.background_routes.clone(),
        }
    }

    /// Returns the most bytes that a request gets around its path and query, at this upstream or at a target.
    fn added(&self, all: &[Draft<'_>], mock: &str) -> usize {
        let targets = self.config.fallback.iter();
        let targets = targets.filter_map(|target| target.at.as_deref());
        let targets = targets.map(|at| if at == "mock" { mock } else { at }.len());
        let own = self.base.to_string().trim_end_matches('/').len();
        let parameters = all.iter().map(|draft| draft.parameter);
        targets.fold(own, usize::max) + parameters.fold(0, usize::max)
    }
}

// === impl Upstream ===

impl Upstream {
    /// Returns how many bytes of the path the longest matching route covers.
    pub(crate) fn covers(&self, path: &str) -> Option<usize> {
        covered(&self.routes, path)
    }

    /// Returns the priority of a path for callers that set none.
    pub(crate) fn priority(&self, path: &str) -> Priority {
        match covered(&self.background_routes, path) {
            Some(_) => Priority::Background,
            None => Priority::Interactive,
        }
    }

    /// Turns a caller's request into one to the upstream's address.
    pub(crate) fn address(&self, mut request: Request) -> Result<Request, Failure> {
        let path_and_query = headers::path_and_query(request.uri());
        if self.added + path_and_query.len() > LONGEST {
            return Err(Failure::TooLong);
        }
        let base = self.base.to_string();
        let uri = format!("{}{path_and_query}", base.trim_end_matches('/'));
        *request.uri_mut() = uri.parse().map_err(|_| Failure::NoRoute)?;
        Ok(request)
    }
}

fn parameter(config: &UpstreamConfig, variable: &dyn Fn(&str) -> Option<String>) -> usize {
    let KeyIn::Query(name) = &config.key_in else {
        return 0;
    };
    let keys = config.keys.iter().filter_map(|key| variable(key));
    let mocks = mock::KEYS.into_iter().map(|(_, key)| key.to_owned());
    // Percent-encoding may triple the length.
    let longest = keys.chain(mocks).map(|key| 3 * key.len()).max();
    "?=".len() + name.len() + longest.unwrap_or_default()
}
