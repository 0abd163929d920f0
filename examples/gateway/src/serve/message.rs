//! Ambiguous HTTP/1.1 messages by RFC 9112. They are not forwarded, because two parties could read them differently.

use std::net::Ipv6Addr;

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, Version, header, uri::Authority},
    response::Response,
};

use super::failure::Failure;

/// Why a message cannot be forwarded by its transfer codings.
enum Coding {
    /// Not `chunked`, so that its content would reach the other side still encoded.
    Unknown,
    /// `chunked` more than once, which RFC 9112, section 6.1, forbids.
    Repeated,
}

/// Checks the host (section 3.2) and the transfer codings (section 6.1) of a caller's request.
pub(crate) fn check_request(request: &Request) -> Result<(), Failure> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if request.version() == Version::HTTP_11 => {
            return Err(Failure::Malformed("it has no Host."));
        }
        (_, Some(_)) => return Err(Failure::Malformed("it has more than one Host.")),
        (Some(host), None) if !host.to_str().is_ok_and(is_authority) => {
            return Err(Failure::Malformed("its Host is not a host with a port."));
        }
        _ => {}
    }
    let target = request.uri().authority().map(Authority::as_str);
    if !target.is_none_or(is_authority) {
        return Err(Failure::Malformed("its target has a user or a wrong port."));
    }
    check_coding(request.headers()).map_err(|coding| match coding {
        Coding::Unknown => Failure::Coding,
        Coding::Repeated => Failure::Malformed("it is chunked more than once."),
    })
}

/// Checks that the body of an upstream's response can be decoded.
pub(crate) fn check_response(response: &Response) -> Result<(), Failure> {
    // Forwarded requests have no `upgrade`.
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let error = "it switched protocols (101), which the request did not offer";
        return Err(Failure::Upstream(error.into()));
    }
    check_coding(response.headers()).map_err(|_| {
        let error = "its response has a transfer coding other than one `chunked`";
        Failure::Upstream(error.into())
    })
}

/// Leaves at most one `content-length`, and none beside a transfer coding, because then the coding defines where the
/// message ends (section 6.3).
pub(crate) fn leave_one_length(headers: &mut HeaderMap) {
    let lengths = || list(headers, header::CONTENT_LENGTH);
    let first = lengths().next().map(HeaderValue::from_bytes);
    let is_one = lengths().all(|length| Some(length) == lengths().next());
    let is_coded = headers.contains_key(header::TRANSFER_ENCODING);
    match first {
        Some(Ok(length)) if is_one && !is_coded => {
            headers.insert(header::CONTENT_LENGTH, length);
        }
        _ => {
            headers.remove(header::CONTENT_LENGTH);
        }
    }
}

fn check_coding(headers: &HeaderMap) -> Result<(), Coding> {
    let codings = || list(headers, header::TRANSFER_ENCODING);
    if !codings().all(|coding| coding.eq_ignore_ascii_case(b"chunked")) {
        return Err(Coding::Unknown);
    }
    match codings().count() {
        0 | 1 => Ok(()),
        _ => Err(Coding::Repeated),
    }
}

/// Returns the elements of a header whose value is a list, over all of its lines.
fn list(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(name).into_iter();
    let elements = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let elements = elements.map(<[u8]>::trim_ascii);
    elements.filter(|element| !element.is_empty())
}

/// Returns whether a text is `host` or `host:port`. A user before the host is not allowed (RFC 9110, section 4.2.4).
fn is_authority(text: &str) -> bool {
    let Ok(authority) = text.parse::<Authority>() else {
        return false;
    };
    let host = authority.host();
    let Some(port) = text.strip_prefix(host).filter(|_| !text.contains('@')) else {
        return false;
    };
    let literal = host
        .strip_prefix('[')
        .map(|host| host.trim_end_matches(']'));
    let is_host = literal.map_or(!host.is_empty(), |host| host.parse::<Ipv6Addr>().is_ok());
    let digits = port.strip_prefix(':').unwrap_or(port);
    is_host && digits.bytes().all(|byte| byte.is_ascii_digit())
}
