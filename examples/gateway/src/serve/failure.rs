//! What the gateway answers in an upstream's place. No layer knows of it, so it is told here.

use std::{error::Error, iter, time::Duration};

use axum::{
    BoxError, Json,
    extract::Request,
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use tracing::warn;

use super::{
    board::millis,
    connections::{Broken, Unread},
    headers::{DEADLINE, PRIORITY},
    shortened,
    upstream::Upstream,
};

/// The methods that are forwarded, to whom it helps to know them.
const ALLOWED: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// Why the gateway answers in the upstream's place.
pub(crate) enum Failure {
    /// Not HTTP/1.1, and in what way.
    Malformed(&'static str),
    /// The request has a transfer coding that is not taken off.
    Coding,
    Host,
    Method,
    OtherSite,
    Path,
    NoRoute,
    TooLong,
    Deadline,
    Priority,
    /// Bodies of other requests take all the memory there is for them.
    Full,
    Body(BoxError),
    /// However far it had got.
    Unread(Unread),
    TooLate(Duration),
    Upstream(BoxError),
}

/// What was asked, for the log. The query is left out, for callers put keys there.
pub(crate) struct Asked {
    method: Method,
    path: String,
}

// === impl Asked ===

impl Asked {
    pub(crate) fn new(request: &Request) -> Self {
        Self {
            method: request.method().clone(),
            path: shortened(request.uri().path()).into(),
        }
    }
}

// === impl Failure ===

impl Failure {
    /// The body of a request cannot be read.
    pub(crate) fn reading(error: BoxError) -> Self {
        unread(&*error).map_or_else(|| Self::Body(error), Self::Unread)
    }

    /// A request cannot be sent, which may be because it cannot be read.
    pub(crate) fn sending(error: BoxError) -> Self {
        let is_broken = sources(&*error).any(|error| error.is::<Broken>());
        match is_broken {
            true => Self::Body(error),
            false => unread(&*error).map_or_else(|| Self::Upstream(error), Self::Unread),
        }
    }

    /// The answer to the caller, and a line for the operator.
    pub(crate) fn answer(&self, asked: &Asked, upstream: Option<&Upstream>) -> Response {
        let (code, status, message) = (self.code(), self.status(), self.message());
        warn!(
            // Whoever lets the lines of the layers through wants this one too.
            target: "tower_429::gateway",
            code,
            status = status.as_u16(),
            upstream = upstream.map(|upstream| &*upstream.name),
            method = asked.method.as_str(),
            path = asked.path,
            cause = message,
            "answered in an upstream's place"
        );
        // In the shape that every SDK reads.
        let error = json!({
            "message": message, "type": "gateway_error", "param": null, "code": code,
        });
        let mut response = (status, Json(json!({ "error": error }))).into_response();
        if status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(header::ALLOW, ALLOWED);
        }
        if matches!(self, Self::Full) {
            // Bodies come and go within seconds.
            let second = HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, second);
        }
        response
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "request_malformed",
            Self::Coding => "transfer_coding_unknown",
            Self::Host => "host_not_ours",
            Self::Method => "method_not_forwarded",
            Self::OtherSite => "asked_by_a_web_page",
            Self::Path => "path_not_plain",
            Self::NoRoute => "no_route",
            Self::TooLong => "path_too_long",
            Self::Full => "buffers_full",
            Self::Deadline => "deadline_not_understood",
            Self::Priority => "priority_not_understood",
            Self::Body(_) => "request_not_read",
            Self::Unread(Unread::Silent) => "request_too_slow",
            Self::Unread(Unread::Stopping) => "stopping",
            Self::TooLate(_) => "deadline_passed",
            Self::Upstream(_) => "upstream_failed",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Coding => StatusCode::NOT_IMPLEMENTED,
            Self::Host | Self::OtherSite => StatusCode::FORBIDDEN,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Path | Self::NoRoute => StatusCode::NOT_FOUND,
            Self::TooLong => StatusCode::URI_TOO_LONG,
            Self::Full => StatusCode::SERVICE_UNAVAILABLE,
            Self::Deadline | Self::Priority | Self::Body(_) => StatusCode::BAD_REQUEST,
            Self::Unread(Unread::Silent) => StatusCode::REQUEST_TIMEOUT,
            Self::Unread(Unread::Stopping) => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooLate(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Upstream(_) => StatusCode::BAD_GATEWAY,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Malformed(how) => format!("The request is not valid HTTP/1.1: {how}"),
            Self::Coding => {
                "The only transfer coding that this gateway takes off a request is `chunked`.".into()
            }
            Self::Host => {
                "This gateway listens on loopback, where its names are localhost, 127.0.0.1 and [::1]: \
                 ask it by one of them. A proxy in front of it has to send one as `Host`."
                    .into()
            }
            Self::Method => "TRACE and CONNECT are not forwarded.".into(),
            Self::OtherSite => "Web pages of other sites may not ask through this gateway.".into(),
            Self::Path => {
                "A path with `.` or `..` for a segment, or with a backslash, is not forwarded."
                    .into()
            }
            Self::NoRoute => {
                "No upstream of this gateway serves this path; see `routes` in its configuration."
                    .into()
            }
            Self::TooLong => {
                "The path and query are too long to put the upstream's address before them.".into()
            }
            Self::Full => {
                "Other requests take all the memory that this gateway has for bodies; see \
                 `max_buffered_bytes` in its configuration."
                    .into()
            }
            Self::Deadline => {
                format!("{DEADLINE} is not a whole number of milliseconds above 0.")
            }
            Self::Priority => format!("{PRIORITY} is neither `interactive` nor `background`."),
            Self::Body(error) => {
                // What was being done with the body, the caller need not know.
                let broken = sources(&**error).find(|error| error.is::<Broken>());
                let why = chain(broken.unwrap_or(&**error));
                format!("The request was not read to its end: {why}")
            }
            Self::Unread(unread) => format!("The request was not read to its end: {unread}."),
            Self::TooLate(deadline) => format!(
                "The upstream has not answered within {} ms.",
                millis(*deadline)
            ),
            Self::Upstream(error) => {
                format!("The upstream has not answered: {}", chain(error.as_ref()))
            }
        }
    }
}

/// An error and what it came of.
fn sources<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |&error| error.source())
}

fn unread(error: &(dyn Error + 'static)) -> Option<Unread> {
    sources(error).find_map(|error| error.downcast_ref().copied())
}

/// An error says what was being done, and its sources why that failed.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut parts: Vec<String> = sources(error).map(ToString::to_string).collect();
    // Wrappers say what they wrap.
    parts.dedup();
    parts.join(": ")
}
