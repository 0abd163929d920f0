//! The span of a call, with the names of OpenTelemetry's conventions for HTTP clients.

use http::StatusCode;
#[cfg(feature = "tracing")]
use tracing::Span;

use crate::call::{CallState, Head, SendId};
#[cfg(feature = "tracing")]
use crate::trail::Attempt;

/// The span of a call. It has no size without the feature.
pub(crate) struct CallSpan {
    #[cfg(feature = "tracing")]
    span: Span,
    /// Whether a subscriber made the span, or it may be written to the crate `log`. With tracing's feature
    /// `log` and no subscriber, a span is disabled but not none.
    #[cfg(feature = "tracing")]
    is_some: bool,
}

/// The span while the call is polled in it.
pub(crate) struct EnteredSpan {
    #[cfg(feature = "tracing")]
    span: tracing::span::EnteredSpan,
}

// === impl CallSpan ===

impl CallSpan {
    /// Opens a span, which never has a path, a query or a header.
    #[cfg_attr(not(feature = "tracing"), allow(unused_variables))]
    pub(crate) fn open(head: &Head) -> Self {
        #[cfg(feature = "tracing")]
        let span = open(head);
        Self {
            #[cfg(feature = "tracing")]
            is_some: !span.is_none(),
            #[cfg(feature = "tracing")]
            span,
        }
    }

    /// Whether a subscriber may want the events of the attempts; also true while the span is entered.
    pub(crate) fn is_enabled(&self) -> bool {
        #[cfg(feature = "tracing")]
        {
            use tracing::level_filters::LevelFilter;

            self.is_some || LevelFilter::current() != LevelFilter::OFF
        }
        #[cfg(not(feature = "tracing"))]
        false
    }

    pub(crate) fn enter(&mut self) -> EnteredSpan {
        EnteredSpan {
            #[cfg(feature = "tracing")]
            span: std::mem::replace(&mut self.span, Span::none()).entered(),
        }
    }

    pub(crate) fn exit(&mut self, entered: EnteredSpan) {
        #[cfg(feature = "tracing")]
        {
            self.span = entered.span.exit();
        }
        #[cfg(not(feature = "tracing"))]
        let EnteredSpan {} = entered;
    }

    pub(crate) fn in_scope(&self, events: impl FnOnce()) {
        #[cfg(feature = "tracing")]
        self.span.in_scope(events);
        #[cfg(not(feature = "tracing"))]
        events();
    }

    /// Records in the span how the call ended, and closes it.
    #[cfg_attr(not(feature = "tracing"), allow(unused_variables))]
    pub(crate) fn close(
        &mut self,
        call: &CallState,
        head: &Head,
        entry: Option<SendId>,
        outcome: &'static str,
        result: Option<Result<StatusCode, &'static str>>,
    ) {
        #[cfg(feature = "tracing")]
        {
            let span = std::mem::replace(&mut self.span, Span::none());
            if !span.is_disabled() {
                record_request(&span, head);
                span.record("tower_429.outcome", outcome);
                record_sends(&span, call, entry);
                record_result(&span, result);
            }
        }
    }
}

/// The span's name is the method, as the conventions say, so that no caller can invent names.
///
/// Each log line repeats the fields that a span has from the start. So the span starts only with the fields
/// that distinguish calls, and the others are recorded at the end.
#[cfg(feature = "tracing")]
fn open(head: &Head) -> Span {
    use http::Method;
    use tracing::field::Empty;

    macro_rules! span {
        ($name:literal) => {
            tracing::info_span!(
                target: "tower_429",
                $name,
                otel.kind = "client",
                otel.status_code = Empty,
                http.request.method = Empty,
                http.request.resend_count = Empty,
                http.response.status_code = Empty,
                server.address = head.host().map(|host| host.trim_matches(['[', ']'])),
                server.port = head.uri.port_u16().map(i64::from),
                "error.type" = Empty,
                tower_429.outcome = Empty,
                tower_429.waited_seconds = Empty,
                tower_429.key = Empty,
                tower_429.model = Empty,
                tower_429.target = Empty,
            )
        };
    }
    match head.method {
        Method::GET => span!("GET"),
        Method::POST => span!("POST"),
        Method::PUT => span!("PUT"),
        Method::PATCH => span!("PATCH"),
        Method::DELETE => span!("DELETE"),
        Method::HEAD => span!("HEAD"),
        Method::OPTIONS => span!("OPTIONS"),
        _ => span!("HTTP"),
    }
}

#[cfg(feature = "tracing")]
fn record_request(span: &Span, head: &Head) {
    let method = match span.metadata().map_or("HTTP", |span| span.name()) {
        "HTTP" => "_OTHER",
        method => method,
    };
    span.record("http.request.method", method);
    let port = head.origin.as_ref().and_then(|origin| origin.port());
    if let (Some(port), None) = (port, head.uri.port_u16()) {
        span.record("server.port", i64::from(port));
    }
}

#[cfg(feature = "tracing")]
fn record_sends(span: &Span, call: &CallState, entry: Option<SendId>) {
    let waited = call.waited();
    if !waited.is_zero() {
        span.record("tower_429.waited_seconds", waited.as_secs_f64());
    }
    let sends = call.sent();
    if sends > 1 {
        span.record("http.request.resend_count", whole(sends - 1));
    }
    let Some(attempt) = entry.and_then(|entry| call.of_entry(entry, Attempt::clone)) else {
        return;
    };
    let named = [
        ("tower_429.key", &attempt.key),
        ("tower_429.model", &attempt.model),
        ("tower_429.target", &attempt.target),
    ];
    for (name, value) in named {
        // Some subscribers write a space for a field that is recorded empty.
        if let Some(value) = value.as_deref() {
            span.record(name, value);
        }
    }
}

#[cfg(feature = "tracing")]
fn record_result(span: &Span, result: Option<Result<StatusCode, &'static str>>) {
    let error = match &result {
        Some(Ok(status)) => {
            span.record("http.response.status_code", i64::from(status.as_u16()));
            let is_error = status.is_client_error() || status.is_server_error();
            is_error.then(|| status.as_str())
        }
        Some(Err(name)) => Some(*name),
        None => None,
    };
    if let Some(error) = error {
        span.record("error.type", error);
        span.record("otel.status_code", "ERROR");
    }
}

/// Returns an `i64`, the only type of whole number that OpenTelemetry has. Other types become text on the way
/// there.
#[cfg(feature = "tracing")]
pub(super) fn whole(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
