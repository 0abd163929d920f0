//! Where a request names its model, and the same request with another.

mod json;
mod path;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Uri, header};

use crate::{content_coding, credentials::with_path};

/// What is longer is no model's name: a stranger's is remembered, logged and told.
const LONGEST: usize = 256;

/// A server answers 422 to an idempotency key that it knows from another request, and a request for another
/// model is one, also where the path names the model (draft-ietf-httpapi-idempotency-key-header, section 2.6).
const IDEMPOTENCY_KEYS: [&str; 2] = ["idempotency-key", "x-idempotency-key"];

/// Where a request names its model.
#[derive(Clone, Debug)]
pub(crate) enum Model {
    InPath(path::Named),
    InBody(json::Named),
    /// Not JSON, compressed, or no model in it.
    Nowhere,
}

// === impl Model ===

impl Model {
    /// The model in the path; `None` if only the body could tell.
    pub(crate) fn in_path(uri: &Uri) -> Option<Self> {
        path::Named::read(uri.path()).map(Self::InPath)
    }

    pub(crate) fn in_body(headers: &HeaderMap, body: &Bytes) -> Self {
        let named = is_plain_json(headers)
            .then(|| json::Named::read(body))
            .flatten();
        named.map_or(Self::Nowhere, Self::InBody)
    }

    pub(crate) fn name(&self) -> Option<Arc<str>> {
        match self {
            Self::InPath(named) => Some(named.model.clone()),
            Self::InBody(named) => Some(named.model.clone()),
            Self::Nowhere => None,
        }
    }

    pub(crate) fn is_nowhere(&self) -> bool {
        matches!(self, Self::Nowhere)
    }

    /// Whether [`verify`](Self::verify) would tell nothing new.
    pub(crate) fn is_verified(&self) -> bool {
        match self {
            Self::InBody(named) => named.is_verified(),
            Self::InPath(_) | Self::Nowhere => true,
        }
    }

    /// Reads a body that may be changed to its end: in one that is not JSON there is no model.
    pub(crate) fn verify(&mut self) {
        let is_sound = match self {
            Self::InBody(named) => named.verify(),
            Self::InPath(_) | Self::Nowhere => true,
        };
        if !is_sound {
            *self = Self::Nowhere;
        }
    }

    /// The URI for another model, if that is where it stands, or else as it is; `None` if it is too long.
    pub(crate) fn uri_with(&self, uri: &Uri, model: &str) -> Option<Uri> {
        let Self::InPath(named) = self else {
            return Some(uri.clone());
        };
        let mut path = named.with(model);
        if let Some(query) = uri.query() {
            path = format!("{path}?{query}");
        }
        with_path(uri, &path)
    }

    /// The body for another model, if that is where it stands; takes off the headers that do not hold for it.
    pub(crate) fn body_with(&self, headers: &mut HeaderMap, model: &str) -> Option<Bytes> {
        if !self.is_nowhere() {
            for name in IDEMPOTENCY_KEYS {
                headers.remove(name);
            }
        }
        match self {
            Self::InBody(named) => Some(named.with(model)),
            Self::InPath(_) | Self::Nowhere => None,
        }
    }
}

/// Whether the body may be read as JSON: not compressed, and not said to be something else.
fn is_plain_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.map(|value| value.to_str().unwrap_or("?"));
    let json = kind.is_none_or(|kind| {
        let essence = kind.split(';').next().unwrap_or_default().trim();
        let suffix = essence
            .len()
            .checked_sub(5)
            .and_then(|at| essence.get(at..));
        suffix.is_some_and(|suffix| {
            suffix.eq_ignore_ascii_case("/json") || suffix.eq_ignore_ascii_case("+json")
        })
    });
    json && content_coding::is_identity(headers)
}
