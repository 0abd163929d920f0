//! The framing of an error's fields: JSON in any encoding that contains ASCII, one event of a stream, or XML.

use serde_json::Value;

use super::{
    sse::{self, SseEvent, SseParser},
    xml,
};

/// A longer body is not read; the largest error seen is a few KiB.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024;

/// The fields of an error, and what its event adds to them.
#[derive(Debug)]
pub(super) struct Framed {
    pub(super) value: Value,
    /// The name of the event.
    pub(super) event: Option<String>,
    /// The HTTP status of the event (DashScope).
    pub(super) status: Option<u16>,
}

/// Reads the body of an error; `None` if it has another form or is too long.
pub(super) fn error(body: &[u8]) -> Option<Framed> {
    let plain = |value| Framed {
        value,
        event: None,
        status: None,
    };
    let xml = || xml::fields(readable(body)?).map(Value::Object);
    json(body)
        .map(plain)
        .or_else(|| event(body))
        .or_else(|| xml().map(plain))
}

/// Reads JSON, also behind a byte order mark or before NULs. Of strings in another encoding than UTF-8 only
/// the ASCII is kept. UTF-16 is not read.
///
/// `serde_json` rejects more than 128 levels, so deep nesting cannot exhaust the stack.
pub(super) fn json(body: &[u8]) -> Option<Value> {
    let body = readable(body)?;
    if let Ok(value) = serde_json::from_slice(body) {
        return Some(value);
    }
    if std::str::from_utf8(body).is_ok() {
        return None;
    }
    let of_one_byte = serde_json::from_str(&String::from_utf8_lossy(body));
    of_one_byte
        .or_else(|_| serde_json::from_slice(&without_pairs(body)))
        .ok()
}

/// Returns a body of a credible length without the filler around its text.
fn readable(body: &[u8]) -> Option<&[u8]> {
    if body.len() > MAX_BODY_BYTES {
        return None;
    }
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let is_filler = |byte: &u8| *byte == 0 || byte.is_ascii_whitespace();
    let end = body.iter().rposition(|byte| !is_filler(byte))?;
    body.get(..=end)
}

/// Returns the text with a `?` for each character of GBK, Big5 or Shift JIS. Otherwise the second byte of a
/// character could be read as a backslash or a brace.
fn without_pairs(body: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(body.len());
    let mut bytes = body.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte.is_ascii() {
            kept.push(byte);
        } else {
            bytes.next_if(|second| matches!(second, 0x40..=0xfe));
            kept.push(b'?');
        }
    }
    kept
}

/// Reads the first event of a stream whose data is JSON.
fn event(body: &[u8]) -> Option<Framed> {
    let body = readable(body)?;
    if !sse::begins(body) {
        return None;
    }
    let mut parser = SseParser::default();
    let mut lines = body.split_inclusive(|byte| *byte == b'\n');
    let found = lines.find_map(|line| parser.feed(line).and_then(of_event));
    found.or_else(|| parser.end().and_then(of_event))
}

fn of_event(event: SseEvent) -> Option<Framed> {
    Some(Framed {
        value: json(&event.data)?,
        event: event.name,
        status: event.status,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &[u8]) -> Option<String> {
        let value = error(body)?.value;
        Some(value.get("message")?.as_str()?.to_owned())
    }

    #[test]
    fn json_is_parsed_without_the_filler_around_it() {
        for body in [
            &b"\xef\xbb\xbf{\"message\":\"no\"}"[..],
            b"{\"message\":\"no\"}\0\0\0",
            b" \r\n{\"message\":\"no\"}\r\n\0",
        ] {
            assert_eq!(message(body).as_deref(), Some("no"));
        }
    }

    #[test]
    fn ascii_is_kept_from_every_encoding_that_contains_it() {
        let latin1 = b"{\"message\":\"d\xe9lai: \\\"20s\\\"\"}";
        assert_eq!(message(latin1).as_deref(), Some("d\u{fffd}lai: \"20s\""));
        // The second byte of a pair may look like a backslash or a brace.
        let gbk = b"{\"message\":\"\xd3\xe0\xb6\xee\x81\x5c\",\"code\":\"1113\"}";
        let value = error(gbk).unwrap().value;
        assert_eq!(value["code"], "1113");
        assert_eq!(value["message"], "???");
        let brace = b"{\"message\":\"\x81\x7d 20s\x81\x7b\"}";
        assert!(message(brace).unwrap().contains("20s"));
    }

    #[test]
    fn nothing_is_removed_from_a_text_in_utf8() {
        // Without the backslash after the character this would be JSON.
        let text = "{\"message\":\"余\\q\"}";
        assert_eq!(message(text.as_bytes()), None);
    }

    #[test]
    fn utf_16_and_cut_off_bodies_are_not_read() {
        let utf_16 = "\u{feff}{\"message\":\"no\"}".encode_utf16();
        let utf_16: Vec<u8> = utf_16.flat_map(u16::to_le_bytes).collect();
        let large = format!("{{\"message\":\"{}\"}}", "x".repeat(MAX_BODY_BYTES));
        for body in [
            &utf_16[..],
            b"",
            b"\0",
            b"\xef\xbb\xbf",
            b"{\"message\":\"n\xe9",
            b"{\"message\":\0\"no\"}",
            b"event: error\n\n",
            b"event: error\ndata: no\n\n",
            b"data: [DONE]",
            b":\n\n:\n\n",
            b"<html><body>{\"message\":\"no\"}</body></html>",
            large.as_bytes(),
        ] {
            assert_eq!(message(body), None, "{:?}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn event_is_read_with_its_name_and_status() {
        for (body, name, status) in [
            (
                "event: error\ndata: {\"message\":\"no\"}\n\n",
                Some("error"),
                None,
            ),
            (
                "id:1\nevent:error\n:HTTP_STATUS/429\ndata:{\"message\":\"no\"}",
                Some("error"),
                Some(429),
            ),
            (
                "\u{feff}: OPENROUTER PROCESSING\r\n\r\ndata: {\"message\":\"no\"}\r\n",
                None,
                None,
            ),
            (
                "event: ping\ndata: {\"type\":\"ping\"}\n\ndata: {\"message\":\ndata: \"no\"}\n\n",
                None,
                None,
            ),
        ] {
            let framed = error(body.as_bytes()).unwrap();
            assert_eq!(framed.value["message"], "no", "{body}");
            assert_eq!((framed.event.as_deref(), framed.status), (name, status));
        }
    }
}
