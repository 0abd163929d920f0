//! What of a request or a response is for the next hop alone, or for us.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use percent_encoding::percent_decode_str;
use tower_429::fallback::{is_credential_header, is_credential_parameter};

use super::message;

/// RFC 9110, section 7.6.1, and the two of proxies that are of one hop by their meaning.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("keep-alive"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TRAILER,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
];

/// Headers of a caller's request that are not forwarded, beside its credentials.
const NOT_FORWARDED: [HeaderName; 6] = [
    header::HOST,
    // Whose account a key charges; beside another's key the provider rejects it.
    HeaderName::from_static("openai-organization"),
    HeaderName::from_static("openai-project"),
    HeaderName::from_static("x-goog-user-project"),
    // It was met when we began to read.
    header::EXPECT,
    // A compressed rejection cannot be read, and events are best not compressed.
    header::ACCEPT_ENCODING,
];

/// Of an upstream's answer: what a browser applies to the whole origin that it came from, or to the page.
const ORIGIN_WIDE: [HeaderName; 17] = [
    // The gateway forwards no `cookie`, and cookies of localhost are those of all of its ports.
    header::SET_COOKIE,
    header::STRICT_TRANSPORT_SECURITY,
    header::REFRESH,
    header::ALT_SVC,
    header::PUBLIC_KEY_PINS,
    header::PUBLIC_KEY_PINS_REPORT_ONLY,
    header::CONTENT_SECURITY_POLICY_REPORT_ONLY,
    HeaderName::from_static("clear-site-data"),
    HeaderName::from_static("service-worker-allowed"),
    HeaderName::from_static("expect-ct"),
    HeaderName::from_static("nel"),
    HeaderName::from_static("report-to"),
    HeaderName::from_static("reporting-endpoints"),
    HeaderName::from_static("accept-ch"),
    HeaderName::from_static("critical-ch"),
    HeaderName::from_static("origin-agent-cluster"),
    HeaderName::from_static("cross-origin-resource-policy"),
];

/// Callers say by it how long an answer is of use.
pub(crate) const DEADLINE: HeaderName = HeaderName::from_static("x-tower-429-deadline-ms");
/// Callers say by it whether somebody waits for the answer.
pub(crate) const PRIORITY: HeaderName = HeaderName::from_static("x-priority");
pub(crate) const ATTEMPTS: HeaderName = HeaderName::from_static("x-tower-429-attempts");
pub(crate) const SERVED_MODEL: HeaderName = HeaderName::from_static("x-tower-429-served-model");
pub(crate) const KEY: HeaderName = HeaderName::from_static("x-tower-429-key");
pub(crate) const WAITED: HeaderName = HeaderName::from_static("x-tower-429-waited-ms");

/// Takes off what is between two neighbours only.
pub(crate) fn drop_hop_by_hop(headers: &mut HeaderMap) {
    message::leave_one_length(headers);
    let listed = headers.get_all(header::CONNECTION).iter();
    let listed = listed.filter_map(|value| value.to_str().ok());
    let names = listed.flat_map(|value| value.split(','));
    let names: Vec<HeaderName> = names.filter_map(|name| name.trim().parse().ok()).collect();
    for name in names.iter().chain(&HOP_BY_HOP) {
        // `connection: content-length` would make another message of it.
        if name != header::CONTENT_LENGTH {
            headers.remove(name);
        }
    }
}

/// Keeps an upstream's answer from acting on the gateway's origin, which is that of its page.
pub(crate) fn isolate(headers: &mut HeaderMap) {
    // The upstream lets every site read what it sends.
    let permits = |name: &&HeaderName| name.as_str().starts_with("access-control-");
    let names: Vec<HeaderName> = headers.keys().filter(permits).cloned().collect();
    for name in names.iter().chain(&ORIGIN_WIDE) {
        headers.remove(name);
    }
    // HTML runs no script and has an origin of its own, and nothing else is taken for HTML.
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, "sandbox"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Makes a caller's headers those of our request.
pub(crate) fn prepare(headers: &mut HeaderMap) {
    drop_hop_by_hop(headers);
    // The pool's key replaces credentials. The layers remove the same ones from requests to another origin.
    let ends_here = |name: &&HeaderName| {
        is_credential_header(name)
            || NOT_FORWARDED.contains(name)
            || [DEADLINE, PRIORITY].contains(name)
    };
    let names: Vec<HeaderName> = headers.keys().filter(ends_here).cloned().collect();
    for name in names {
        headers.remove(name);
    }
    headers.insert(
        header::ACCEPT_ENCODING,
        HeaderValue::from_static("identity"),
    );
}

/// Path and query without the parameters in which callers send keys.
pub(crate) fn path_and_query(uri: &Uri) -> String {
    let is_credential = |pair: &&str| {
        let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
        is_credential_parameter(&percent_decode_str(name).decode_utf8_lossy())
    };
    let query = uri.query().unwrap_or_default();
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| !is_credential(pair))
        .collect();
    match kept.join("&") {
        kept if kept.is_empty() => uri.path().into(),
        kept => format!("{}?{kept}", uri.path()),
    }
}
