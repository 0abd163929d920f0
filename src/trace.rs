//! The only file that names `tracing`; `telemetry` names the events.

use std::time::Duration;

use http::StatusCode;

use crate::{
    call::{CallState, Head, SendId},
    trail::{Action, AttemptError, LayerKind},
};
#[cfg(feature = "tracing")]
use crate::{
    rejection::Reason,
    trail::{Attempt, Progress},
};

/// The span of a call; it has no size without the feature.
pub(crate) struct CallSpan {
    #[cfg(feature = "tracing")]
    span: tracing::Span,
    /// Somebody made it, or it may be written to `log`: tracing's feature of that name makes a span that
    /// is disabled, but not none, where there is no subscriber.
    #[cfg(feature = "tracing")]
    is_some: bool,
}

/// The span, while the call is polled in it.
pub(crate) struct Entered {
    #[cfg(feature = "tracing")]
    span: tracing::span::EnteredSpan,
}

// === impl CallSpan ===

impl CallSpan {
    /// A span by the conventions of OpenTelemetry for HTTP clients. Never a path, a query or a header.
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

    /// Whether anybody may want to hear of the attempts inside; also while it is entered.
    pub(crate) fn is_listened_to(&self) -> bool {
        #[cfg(feature = "tracing")]
        {
            use tracing::level_filters::LevelFilter;

            self.is_some || LevelFilter::current() != LevelFilter::OFF
        }
        #[cfg(not(feature = "tracing"))]
        false
    }

    pub(crate) fn enter(&mut self) -> Entered {
        Entered {
            #[cfg(feature = "tracing")]
            span: std::mem::replace(&mut self.span, tracing::Span::none()).entered(),
        }
    }

    pub(crate) fn exit(&mut self, entered: Entered) {
        #[cfg(feature = "tracing")]
        {
            self.span = entered.span.exit();
        }
        #[cfg(not(feature = "tracing"))]
        let Entered {} = entered;
    }

    /// The call was dropped: by a timeout once its deadline was over, or by the caller.
    #[cfg_attr(not(feature = "tracing"), allow(unused_variables))]
    pub(crate) fn cut(
        &self,
        call: &CallState,
        entry: Option<SendId>,
        elapsed: Duration,
        is_timed_out: bool,
    ) {
        #[cfg(feature = "tracing")]
        if self.is_listened_to() {
            let last = || call.of_entry(entry?, Attempt::clone);
            self.span
                .in_scope(|| cut(call, last(), elapsed, is_timed_out));
        }
    }

    /// Says in the span how the call ended, and closes it.
    #[cfg_attr(not(feature = "tracing"), allow(unused_variables))]
    pub(crate) fn close(
        &mut self,
        call: &CallState,
        entry: Option<SendId>,
        outcome: &'static str,
        result: Option<Result<StatusCode, &'static str>>,
    ) {
        #[cfg(feature = "tracing")]
        {
            let span = std::mem::replace(&mut self.span, tracing::Span::none());
            if !span.is_disabled() {
                span.record("tower_429.outcome", outcome);
                record(&span, call, entry, result);
            }
        }
    }
}

/// The name of the span is the method, as the convention has it, so that no stranger can make names.
#[cfg(feature = "tracing")]
fn open(head: &Head) -> tracing::Span {
    use http::Method;
    use tracing::field::Empty;

    let host = || Some(head.host()?.trim_matches(['[', ']']));
    let port = || Some(i64::from(head.origin.as_ref()?.port()?));
    macro_rules! span {
        ($name:literal, $method:expr) => {
            tracing::info_span!(
                target: "tower_429",
                $name,
                otel.kind = "client",
                otel.status_code = Empty,
                http.request.method = $method,
                http.request.resend_count = Empty,
                http.response.status_code = Empty,
                server.address = host(),
                server.port = port(),
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
        Method::GET => span!("GET", "GET"),
        Method::POST => span!("POST", "POST"),
        Method::PUT => span!("PUT", "PUT"),
        Method::PATCH => span!("PATCH", "PATCH"),
        Method::DELETE => span!("DELETE", "DELETE"),
        Method::HEAD => span!("HEAD", "HEAD"),
        Method::OPTIONS => span!("OPTIONS", "OPTIONS"),
        _ => span!("HTTP", "_OTHER"),
    }
}

#[cfg(feature = "tracing")]
fn record(
    span: &tracing::Span,
    call: &CallState,
    entry: Option<SendId>,
    result: Option<Result<StatusCode, &'static str>>,
) {
    let waited = call.waited();
    if !waited.is_zero() {
        span.record("tower_429.waited_seconds", waited.as_secs_f64());
    }
    let sends = call.sent();
    if sends > 1 {
        span.record("http.request.resend_count", whole(sends - 1));
    }
    if let Some(attempt) = entry.and_then(|entry| call.of_entry(entry, Attempt::clone)) {
        let named = [
            ("tower_429.key", &attempt.key),
            ("tower_429.model", &attempt.model),
            ("tower_429.target", &attempt.target),
        ];
        for (name, value) in named {
            // A subscriber that writes fields as they come writes a space for one that is empty.
            if let Some(value) = value.as_deref() {
                span.record(name, value);
            }
        }
    }
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

/// The only whole numbers that OpenTelemetry has; others become texts on the way there.
#[cfg(feature = "tracing")]
fn whole(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// An attempt, and what was done about its outcome. Never a key, a body or an address.
#[cfg_attr(not(feature = "tracing"), allow(unused_variables))]
pub(crate) fn attempt(call: &CallState, entry: SendId, layer: LayerKind, action: Option<Action>) {
    #[cfg(feature = "tracing")]
    {
        use std::cell::OnceCell;

        let reason = call.of_entry(entry, |it| Some(it.rejection.as_ref()?.reason));
        let reason = reason.flatten();
        // Only the macros know whether anybody listens: then they ask for their fields, and not before.
        let copy = OnceCell::new();
        let copied = || call.of_entry(entry, Attempt::clone);
        let attempt = || copy.get_or_init(copied).as_ref();
        let wait = match action {
            Some(Action::Wait(wait)) => Some(tracing::field::debug(wait)),
            _ => None,
        };
        macro_rules! event {
            ($level:ident) => {
                tracing::$level!(
                    target: "tower_429",
                    layer = action.map(|_| layer.as_str()),
                    attempt = attempt().map(|it| i64::from(it.number)),
                    status = attempt().and_then(|it| Some(i64::from(it.status?.as_u16()))),
                    reason = reason.map(tracing::field::debug),
                    hint = attempt().and_then(hint),
                    error_kind = attempt().and_then(|it| Some(&*it.error.as_ref()?.kind)),
                    error = attempt().and_then(|it| it.error.as_ref()?.text.as_deref()),
                    wait,
                    key = attempt().and_then(|it| it.key.as_deref()),
                    model = attempt().and_then(|it| it.model.as_deref()),
                    target_name = attempt().and_then(|it| it.target.as_deref()),
                    "{}",
                    attempt().map_or_else(String::new, |it| message(it, action))
                )
            };
        }
        // What the caller gets, and what only a person can mend, is a warning; the rest is the layers at work.
        let for_a_person = matches!(reason, Some(Reason::KeyRejected | Reason::QuotaExhausted));
        match action {
            None => event!(debug),
            Some(Action::Return(_)) => event!(warn),
            Some(_) if for_a_person => event!(warn),
            Some(_) => event!(info),
        }
    }
}

#[cfg(feature = "tracing")]
fn cut(call: &CallState, last: Option<Attempt>, elapsed: Duration, is_timed_out: bool) {
    let last = || last.as_ref();
    // An inner layer's send is abandoned right after this.
    let is_given_up = |last: &Attempt| last.progress != Progress::Completed;
    let during = || match last().is_some_and(is_given_up) {
        true => "during a send",
        false => "before a send",
    };
    let millis = |time: Duration| {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        tracing::field::debug(Duration::from_millis(millis))
    };
    let waited = || Some(call.waited()).filter(|waited| !waited.is_zero());
    macro_rules! event {
        ($level:ident, $what:literal) => {
            tracing::$level!(
                target: "tower_429",
                attempts = whole(call.sent()),
                elapsed = millis(elapsed),
                waited = waited().map(millis),
                key = last().and_then(|it| it.key.as_deref()),
                model = last().and_then(|it| it.model.as_deref()),
                target_name = last().and_then(|it| it.target.as_deref()),
                "{} {}",
                $what,
                during(),
            )
        };
    }
    match is_timed_out {
        true => event!(warn, "timed out"),
        false => event!(debug, "dropped by the caller"),
    }
}

/// The body of a discarded response ended in an error, so its connection is not reused.
#[cfg_attr(not(feature = "tracing"), allow(unused_variables))]
pub(crate) fn drain_failed(call: &CallState, entry: Option<SendId>, error: &AttemptError) {
    #[cfg(feature = "tracing")]
    tracing::debug!(
        target: "tower_429",
        attempt = entry.and_then(|entry| call.of_entry(entry, |it| i64::from(it.number))),
        error_kind = &*error.kind,
        "discarded response failed while it was drained"
    );
}

#[cfg(feature = "tracing")]
fn hint(attempt: &Attempt) -> Option<impl tracing::Value + use<>> {
    let rejection = attempt.rejection.as_ref()?;
    rejection.retry_after.map(tracing::field::debug)
}

#[cfg(feature = "tracing")]
fn message(attempt: &Attempt, action: Option<Action>) -> String {
    // Layers may be told to act on other statuses and errors too.
    let what = match (&attempt.rejection, attempt.status) {
        (Some(_), _) => "limited",
        (None, Some(status)) if status.is_success() => "answered",
        (None, _) => "failed",
    };
    match action {
        None => what.into(),
        Some(Action::Wait(_)) => format!("{what}; waiting"),
        Some(Action::NextKey) => format!("{what}; asking with the next key"),
        Some(Action::NextTarget) => format!("{what}; asking the next target"),
        Some(Action::Return(why)) => format!("{what}; handed to the caller: {why}"),
    }
}
