//! The first event of a `text/event-stream` (WHATWG HTML, section 9.2.6), read chunk by chunk.

/// An event that has data.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SseEvent {
    pub(crate) name: Option<String>,
    /// The HTTP status in a comment (DashScope: `:HTTP_STATUS/429`).
    pub(crate) status: Option<u16>,
    pub(crate) data: Vec<u8>,
}

/// How DashScope's comment begins.
const STATUS: &[u8] = b"HTTP_STATUS/";

/// What a stream's first line begins with; a comment has no name.
const FIELDS: &[&[u8]] = &[b"event:", b"data:", b"id:", b"retry:", b":"];

/// Whether a body is a stream of events, by its start.
pub(super) fn begins(body: &[u8]) -> bool {
    let body = body.trim_ascii_start();
    FIELDS.iter().any(|field| body.starts_with(field))
}

#[derive(Default)]
pub(crate) struct SseParser {
    line: Vec<u8>,
    name: Option<String>,
    status: Option<u16>,
    data: Option<Vec<u8>>,
    /// The last byte was a carriage return, so a line feed belongs to it.
    after_return: bool,
}

// === impl SseParser ===

impl SseParser {
    /// Returns the first event that is complete; comments, events without data and pings do not count.
    pub(crate) fn feed(&mut self, chunk: &[u8]) -> Option<SseEvent> {
        for byte in chunk {
            let after_return = std::mem::replace(&mut self.after_return, *byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => {
                    if let Some(event) = self.end_of_line() {
                        return Some(event);
                    }
                }
                byte => self.line.push(*byte),
            }
        }
        None
    }

    /// Returns the event that the stream cuts off before the blank line that ends it.
    pub(crate) fn end(mut self) -> Option<SseEvent> {
        self.end_of_line().or_else(|| self.dispatch())
    }

    fn end_of_line(&mut self) -> Option<SseEvent> {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line);
        if line.is_empty() {
            return self.dispatch();
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (field, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"" => self.status = status(value).or(self.status),
            b"event" => self.name = Some(String::from_utf8_lossy(value).into_owned()),
            b"data" => match &mut self.data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                none => *none = Some(value.to_vec()),
            },
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<SseEvent> {
        let (name, status) = (self.name.take(), self.status.take());
        let data = self.data.take().filter(|data| !data.is_empty())?;
        // Anthropic's keep-alive.
        let is_ping = name.as_deref() == Some("ping");
        (!is_ping).then_some(SseEvent { name, status, data })
    }
}

fn status(comment: &[u8]) -> Option<u16> {
    let status = comment.strip_prefix(STATUS)?;
    std::str::from_utf8(status).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(text: &str) -> Option<(Option<String>, String)> {
        let event = |event: SseEvent| (event.name, String::from_utf8(event.data).unwrap());
        let mut by_byte = SseParser::default();
        let mut bytes = text.as_bytes().chunks(1);
        let found = bytes.find_map(|byte| by_byte.feed(byte)).map(event);
        let at_once = SseParser::default().feed(text.as_bytes()).map(event);
        assert_eq!(found, at_once);
        found
    }

    #[test]
    fn first_event_is_found_after_comments_with_any_line_end() {
        let error = Some((Some("error".into()), "{\"a\":1}".into()));
        for text in [
            "event: error\ndata: {\"a\":1}\n\n",
            "event:error\r\ndata:{\"a\":1}\r\n\r\n",
            ": keep-alive\n\n: keep-alive\n\nevent: error\rdata: {\"a\":1}\r\rdata: 2\n\n",
            "\u{feff}id: 7\nretry: 3\nevent: error\ndata: {\"a\":1}\n\n",
        ] {
            assert_eq!(first(text), error, "{text:?}");
        }
        assert_eq!(first("data: a\ndata: b\n\n"), Some((None, "a\nb".into())));
        assert_eq!(
            first("event: ping\n\ndata: x\n\n"),
            Some((None, "x".into()))
        );
        assert_eq!(
            first("event: ping\ndata: {\"type\": \"ping\"}\n\nevent: error\ndata: x\n\n"),
            Some((Some("error".into()), "x".into()))
        );
        assert_eq!(first("data:\n\ndata: x\n\n"), Some((None, "x".into())));
        assert_eq!(first("data: not yet\n"), None);
    }

    #[test]
    fn event_cut_off_by_the_end_is_returned() {
        let mut parser = SseParser::default();
        assert_eq!(parser.feed(b"data: {\"error\":1}"), None);
        assert_eq!(parser.end().unwrap().data, b"{\"error\":1}");
        assert_eq!(SseParser::default().end(), None);
    }
}
