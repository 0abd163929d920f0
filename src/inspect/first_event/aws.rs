//! The first message of an `application/vnd.amazon.eventstream`, as Bedrock sends them.
//!
//! A message consists of its total length, the length of its headers and a checksum (4 bytes each,
//! big-endian), headers, payload, and a checksum. The client verifies the checksums, because the bytes
//! pass through unchanged.

use super::FirstEvent;
use crate::rejection::SseEvent;

const PRELUDE: usize = 12;
const CHECKSUM: usize = 4;

/// The type of a header whose value is a string. All headers that matter here have this type.
const STRING: u8 = 7;

/// Reads the first message; `None` while it is not complete.
pub(super) fn first(seen: &[u8]) -> Option<FirstEvent> {
    let total = length(seen, 0)?;
    let headers = length(seen, 4)?;
    if total < PRELUDE + CHECKSUM || headers > total - PRELUDE - CHECKSUM {
        return Some(FirstEvent::Content);
    }
    if seen.len() < total {
        return None;
    }
    let payload = &seen[PRELUDE + headers..total - CHECKSUM];
    let exception = exception(&seen[PRELUDE..PRELUDE + headers]);
    Some(match exception {
        Some(name) => FirstEvent::Error(SseEvent {
            name: Some(name),
            status: None,
            data: payload.to_vec(),
        }),
        None => FirstEvent::Content,
    })
}

fn length(seen: &[u8], at: usize) -> Option<usize> {
    let bytes = seen.get(at..at + 4)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(bytes)).ok()
}

/// Returns the value of `:exception-type`, if the headers contain it.
fn exception(mut headers: &[u8]) -> Option<String> {
    while let Some((length, rest)) = headers.split_first() {
        let (name, rest) = rest.split_at_checked(usize::from(*length))?;
        let (kind, rest) = rest.split_first()?;
        if *kind != STRING {
            return None;
        }
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        if name == b":exception-type" {
            return Some(String::from_utf8_lossy(value).into_owned());
        }
        headers = rest;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(headers: &[(&str, &str)], payload: &str) -> Vec<u8> {
        let mut encoded = Vec::new();
        for (name, value) in headers {
            encoded.push(name.len() as u8);
            encoded.extend_from_slice(name.as_bytes());
            encoded.push(STRING);
            encoded.extend_from_slice(&(value.len() as u16).to_be_bytes());
            encoded.extend_from_slice(value.as_bytes());
        }
        let total = PRELUDE + encoded.len() + payload.len() + CHECKSUM;
        let mut message = (total as u32).to_be_bytes().to_vec();
        message.extend_from_slice(&(encoded.len() as u32).to_be_bytes());
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(&encoded);
        message.extend_from_slice(payload.as_bytes());
        message.extend_from_slice(&[0; 4]);
        message
    }

    #[test]
    fn exception_is_found_once_it_is_complete() {
        let headers = [
            (":message-type", "exception"),
            (":exception-type", "throttlingException"),
        ];
        let message = message(&headers, "{}");
        for cut in 0..message.len() {
            assert_eq!(first(&message[..cut]), None, "{cut}");
        }
        let event = SseEvent {
            name: Some("throttlingException".into()),
            status: None,
            data: b"{}".to_vec(),
        };
        assert_eq!(first(&message), Some(FirstEvent::Error(event)));
    }

    #[test]
    fn content_and_malformed_messages_are_not_errors() {
        let event = message(&[(":event-type", "chunk")], "{}");
        assert_eq!(first(&event), Some(FirstEvent::Content));
        assert_eq!(first(&[0; 12]), Some(FirstEvent::Content));
        assert_eq!(first(&[255; 12]), Some(FirstEvent::Content));
        let mut bad = message(&[(":exception-type", "x")], "");
        bad[12] = 255;
        assert_eq!(first(&bad), Some(FirstEvent::Content));
    }
}
