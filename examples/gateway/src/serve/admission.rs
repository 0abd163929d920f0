//! Who may ask, and for what.
//!
//! A browser asks whatever a page tells it to, and our keys would pay. Not every one says so by
//! `Sec-Fetch-Site`: older ones never do, and none does to an `http` address that is not loopback.
//! `Origin` they all send with what may cost, and a name that was pointed at this machine afterwards
//! is told by `Host`. Programs send neither of the first two.

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
    failure::{Asked, Failure},
    message, metrics,
};

/// Lets through only well-formed requests to whatever path, on loopback only those under a name of loopback.
pub(crate) async fn by_our_name(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
    next: Next,
) -> Response {
    match check(&gateway, &request) {
        Ok(()) => next.run(request).await,
        Err(failure) => {
            let response = failure.answer(&Asked::new(&request), None);
            metrics::answered(None, response.status());
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

/// Whether a request may go to an upstream at all.
pub(crate) fn admit(request: &Request) -> Result<(), Failure> {
    // What TRACE sends back has the key in it, and CONNECT makes a tunnel.
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

/// Whoever sends no name at all is no browser.
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
            // `null` is the origin of pages that hide where they are from.
            _ => false,
        }
    };
    let mut origins = headers.get_all(header::ORIGIN).iter();
    matches!(site, Some(b"cross-site" | b"same-site")) || !origins.all(is_ours)
}

/// The question of a browser whether a page of another site may ask; our own need none.
fn is_preflight(request: &Request) -> bool {
    let asks = header::ACCESS_CONTROL_REQUEST_METHOD;
    request.method() == Method::OPTIONS && request.headers().contains_key(asks)
}

/// Whether a path leads where it seems to: clients and upstreams resolve dots, some at a backslash
/// too, and so would leave the route.
fn is_plain(path: &str) -> bool {
    let path: Vec<u8> = percent_decode_str(path).collect();
    let mut segments = path.split(|byte| *byte == b'/');
    !path.contains(&b'\\') && segments.all(|segment| !matches!(segment, b"." | b".."))
}
