//! What the layers read from responses, and what they change in requests.

use http::{
    Extensions, HeaderMap, HeaderName, Response, StatusCode,
    header::{self, Entry},
};

use super::settings::Once;
use crate::{
    call::OpenBody,
    clock,
    rejection::{self, Bucket, NamedAccount, Provider, Rejection},
};

/// A response without its body, as a predicate reads it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ResponseHead<'a> {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The extensions, such as a [`Rejection`](crate::rejection::Rejection) or what an inner service put
    /// there.
    pub extensions: &'a Extensions,
}

// === impl ResponseHead ===

impl<'a> ResponseHead<'a> {
    pub(super) fn of<R>(response: &'a Response<R>) -> Self {
        Self {
            status: response.status(),
            headers: response.headers(),
            extensions: response.extensions(),
        }
    }

    /// What can hold a guard until the body has ended; `None` if no `InspectLayer` wraps the body.
    pub(crate) fn open_body(&self) -> Option<&'a OpenBody> {
        self.extensions.get()
    }

    /// Returns whether the body may come long after the head: it is a stream of events, or has no length.
    pub(super) fn streams(&self) -> bool {
        let kind = self.headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok());
        let essence = kind
            .and_then(|kind| kind.split(';').next())
            .unwrap_or_default();
        let is_of_events = |of: &&str| essence.trim().eq_ignore_ascii_case(of);
        !self.headers.contains_key(header::CONTENT_LENGTH) || EVENT_STREAMS.iter().any(is_of_events)
    }
}

/// As [`Extensions::insert`], but without an allocation if the value replaces another.
pub(super) fn put<T: Clone + Send + Sync + 'static>(extensions: &mut Extensions, value: T) {
    match extensions.get_mut::<T>() {
        Some(place) => *place = value,
        None => drop(extensions.insert(value)),
    }
}

/// What the bodies of streamed responses are, Amazon's too.
const EVENT_STREAMS: [&str; 2] = ["text/event-stream", "application/vnd.amazon.eventstream"];

/// Headers that depend on the bytes of the body. By RFC 9530, section 6.5, an intermediary that changes
/// content removes digests.
const BODY_DIGESTS: [&str; 4] = ["content-digest", "content-md5", "digest", "repr-digest"];

/// Corrects the headers for a body of `length` bytes that replaces the caller's.
///
/// hyper trusts a caller's `content-length`, so a stale one truncates the body.
pub(super) fn describe_replaced(headers: &mut HeaderMap, length: usize) {
    if let Entry::Occupied(mut entry) = headers.entry(header::CONTENT_LENGTH) {
        entry.insert(length.into());
    }
    for name in BODY_DIGESTS {
        headers.remove(name);
    }
}

/// Returns the rejection that an inner layer has stored. If there is none, reads it from the head and stores
/// it for outer layers. Warns once if the head says less than the body would have.
pub(super) fn read_rejection<R>(
    response: &mut Response<R>,
    host: Option<&str>,
    once: &Once,
) -> Option<Rejection> {
    if let Some(rejection) = response.extensions().get::<Rejection>() {
        return Some(rejection.clone());
    }
    let (status, headers) = (response.status(), response.headers());
    // Most responses are successes, and their heads cannot be rejections.
    if status.as_u16() < 400 {
        return None;
    }
    let rejection = Rejection::from_answer(host, status, headers, clock::wall())?;
    let is_open = rejection.retry_after.is_none() && rejection.window.is_none();
    if status == StatusCode::TOO_MANY_REQUESTS && is_open {
        let provider = Provider::guess(host, headers);
        if provider.explains_in_body() {
            once.warn_of_unread_body(provider);
        }
    }
    response.extensions_mut().insert(rejection.clone());
    Some(rejection)
}

/// Returns what a response reports of limits, and the account that it names.
pub(super) fn read_limits(
    headers: &HeaderMap,
    host: Option<&str>,
) -> (Vec<Bucket>, Option<NamedAccount>) {
    // Most responses report nothing, so one pass over the names finds that out.
    let (mut has_buckets, mut has_account) = (false, false);
    for name in headers.keys().map(HeaderName::as_str) {
        has_buckets = has_buckets || Bucket::is_named(name);
        has_account = has_account || NamedAccount::is_named_by(name);
    }
    let buckets = match has_buckets {
        true => rejection::buckets(headers, Provider::guess(host, headers), clock::wall()),
        false => Vec::new(),
    };
    let account = has_account.then(|| NamedAccount::named_in(headers));
    (buckets, account.flatten())
}
