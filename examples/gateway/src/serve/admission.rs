//! Which requests the gateway accepts.
//!
//! A browser sends any request that a page makes, and the keys of the gateway would pay for it. `Sec-Fetch-Site`
//! reveals such requests, but older browsers never send it, and no browser sends it to an `http` address that is not
//! loopback. All browsers send `Origin` with requests that may cost something. `Host` reveals a DNS name that was
//! changed to point to this machine. Programs that are not browsers send neither `Sec-Fetch-Site` nor `Origin`.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, header, uri::Authority},
    middleware::Next,
    response::Response,
};
use percent_encoding::percent_decode_str;

use super::{
    Gateway,
    failure::{Failure, RequestLine},
    message, metrics,
};

/// Rejects malformed requests. On loopback it also rejects requests whose host is not loopback.
pub(crate) async fn check_host(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
    next: Next,
) -> Response {
    match check(&gateway, &request) {
        Ok(()) => next.run(request).await,
        Err(failure) => {
            let response = failure.response(&RequestLine::new(&request), None);
            metrics::count_response(None, response.status());
            response
        }
    }
}

fn check(gateway: &Gateway, request: &Request) -> Result<(), Failure> {
    message::check_request(request)?;
    match gateway.on_loopback && !names_loopback(request) {
        true => Err(Failure::Host),
        false => Ok(()),
    }
}

/// Checks that a request may be sent to an upstream.
pub(crate) fn admit(request: &Request) -> Result<(), Failure> {
    // The response to TRACE would contain the key, and CONNECT opens a tunnel.
    if [Method::TRACE, Method::CONNECT].contains(request.method()) {
        return Err(Failure::Method);
    }
    if is_of_other_site(request.headers()) || is_preflight(request) {
        return Err(Failure::OtherSite);
    }
    match is_plain(request.uri().path()) {
        true => Ok(()),
        false => Err(Failure::Path),
    }
}

/// Returns whether all hosts of a request are loopback. A request without a host is not from a browser.
fn names_loopback(request: &Request) -> bool {
    let is_ours = |authority: &str| {
        let authority = authority.parse::<Authority>();
        authority.is_ok_and(|authority| is_loopback(authority.host()))
    };
    let mut named = request.headers().get_all(header::HOST).iter();
    let target = request.uri().authority();
    named.all(|host| host.to_str().is_ok_and(is_ours))
        && target.is_none_or(|target| is_loopback(target.host()))
}

fn is_loopback(host: &str) -> bool {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    let address = literal.parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

fn is_of_other_site(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let host = headers.get(header::HOST);
    let is_ours = |origin: &HeaderValue| {
        let origin = origin.to_str().ok().and_then(|text| text.split_once("://"));
        let host = host.and_then(|host| host.to_str().ok());
        match (origin, host) {
            (Some((_, authority)), Some(host)) => authority.eq_ignore_ascii_case(host),
            // `null` is the origin of pages that hide their origin.
            _ => false,
        }
    };
    let mut origins = headers.get_all(header::ORIGIN).iter();
    matches!(site, Some(b"cross-site" | b"same-site")) || !origins.all(is_ours)
}

/// Returns whether a browser checks if a page of another site may send a request. The gateway's own page needs no
/// such check.
fn is_preflight(request: &Request) -> bool {
    let header = header::ACCESS_CONTROL_REQUEST_METHOD;
    request.method() == Method::OPTIONS && request.headers().contains_key(header)
}

/// Returns whether a path has no segments that clients or upstreams resolve. Such segments could leave the route. Some
/// clients and upstreams treat a backslash as a slash.
fn is_plain(path: &str) -> bool {
    let path: Vec<u8> = percent_decode_str(path).collect();
    let mut segments = path.split(|byte| *byte == b'/');
    !path.contains(&b'\\') && segments.all(|segment| !matches!(segment, b"." | b".."))
}
