//! The content codings of a body.

use http::{HeaderMap, header};

/// Whether the body is sent as it is: without a content coding, or with `identity` or an empty value.
pub(crate) fn is_identity(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    values.all(|value| {
        let mut codings = value.as_bytes().split(|byte| *byte == b',');
        codings.all(|coding| {
            let coding = coding.trim_ascii();
            coding.is_empty() || coding.eq_ignore_ascii_case(b"identity")
        })
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn body_is_plain_without_a_coding_or_with_identity() {
        let table: &[(&[&str], bool)] = &[
            (&[], true),
            (&[""], true),
            (&[" "], true),
            (&["identity"], true),
            (&[" Identity "], true),
            (&["identity, identity"], true),
            (&["identity", ""], true),
            (&["gzip"], false),
            (&["identity, gzip"], false),
            (&["identity", "br"], false),
            (&["identity;q=1"], false),
        ];
        for (values, expected) in table {
            let mut headers = HeaderMap::new();
            for value in *values {
                let value = HeaderValue::from_str(value).unwrap();
                headers.append(header::CONTENT_ENCODING, value);
            }
            assert_eq!(is_identity(&headers), *expected, "{values:?}");
        }
        let bytes = HeaderValue::from_bytes(b"\xff").unwrap();
        let headers = HeaderMap::from_iter([(header::CONTENT_ENCODING, bytes)]);
        assert!(!is_identity(&headers));
    }
}
