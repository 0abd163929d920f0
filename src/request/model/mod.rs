//! Finds the model that a request names, and replaces it.

mod json;
mod name;
mod path;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Uri, header};
use json::BodyModel;
use path::PathModel;

use super::{content_coding, uri::with_path};

/// These headers are removed if the model changes, because a server answers 422 if it knows the key from
/// another request.
///
/// A request for another model is another request, also if the path names the model.
///
/// Source: draft-ietf-httpapi-idempotency-key-header, section 2.6.
const IDEMPOTENCY_KEYS: [&str; 2] = ["idempotency-key", "x-idempotency-key"];

/// The model that a request names.
#[derive(Clone, Debug)]
pub(crate) enum Model {
    InPath(PathModel),
    InBody(BodyModel),
    /// The body is compressed, is not JSON, or names no model.
    Nowhere,
}

// === impl Model ===

impl Model {
    /// Returns the model in the path; `None` if only the body can name one.
    pub(crate) fn in_path(uri: &Uri) -> Option<Self> {
        PathModel::read(uri.path()).map(Self::InPath)
    }

    /// Returns the model in a body.
    pub(crate) fn in_body(headers: &HeaderMap, body: &Bytes) -> Self {
        let named = is_plain_json(headers)
            .then(|| BodyModel::read(body))
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

    /// Whether [`verify`](Self::verify) has nothing left to check.
    pub(crate) fn is_verified(&self) -> bool {
        match self {
            Self::InBody(named) => named.is_verified(),
            Self::InPath(_) | Self::Nowhere => true,
        }
    }

    /// Parses the body to its end before it is changed. A body that is not JSON names no model.
    pub(crate) fn verify(&mut self) {
        let is_json = match self {
            Self::InBody(named) => named.verify(),
            Self::InPath(_) | Self::Nowhere => true,
        };
        if !is_json {
            *self = Self::Nowhere;
        }
    }

    /// Returns the URI, with another model if the path names one; `None` if the URI would be too long.
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

    /// Returns the body with another model, if the body names one. Removes the idempotency keys.
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

/// Whether the headers allow the body to be JSON that is not compressed.
pub(super) fn is_plain_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.map(|value| value.to_str().unwrap_or("?"));
    let json = kind.is_none_or(|kind| {
        if kind == "application/json" {
            return true;
        }
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
