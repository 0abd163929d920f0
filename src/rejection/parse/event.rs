//! One event of a stream, or the body of a success, which may be an error.

use std::time::SystemTime;

use serde_json::{Map, Value};

use super::{
    error_body::ErrorBody,
    error_json::{self, Trust},
    framing::{self, Framed},
};

/// Reads the JSON of an event; `None` if neither the name, the status nor the JSON marks it as an error.
pub(crate) fn read(
    name: Option<&str>,
    status: Option<u16>,
    data: &[u8],
    now: SystemTime,
) -> Option<ErrorBody> {
    let value = framing::json(data)?;
    let is_error_name =
        |name: &str| matches!(name, "error" | "response.failed") || name.ends_with("Exception");
    let is_failed = status.is_some_and(|status| status >= 400);
    if !name.is_some_and(is_error_name) && !is_failed && !is_error(&value) {
        return None;
    }
    let event = name.map(str::to_owned);
    let framed = Framed {
        value,
        event,
        status,
    };
    Some(error_json::of_framed(framed, Trust::All, now))
}

fn is_error(value: &Value) -> bool {
    match value {
        Value::Array(elements) => elements.first().is_some_and(is_error),
        Value::Object(object) => {
            let error = object.get("error");
            let kind = object.get("type").and_then(Value::as_str);
            matches!(error, Some(Value::Object(_) | Value::String(_)))
                || matches!(kind, Some("error" | "response.failed"))
                || object.get("success") == Some(&Value::Bool(false))
                || has_error_code(object)
        }
        _ => false,
    }
}

/// Whether MiniMax or Baidu mark it as an error; their successes have a zero there, or nothing.
fn has_error_code(object: &Map<String, Value>) -> bool {
    let base = object.get("base_resp");
    let code = match base.and_then(|base| base.get("status_code")) {
        None if error_json::is_of_baidu(object) => object.get("error_code"),
        code => code,
    };
    let number = |code: &Value| match code {
        Value::String(code) => code.parse().ok(),
        code => code.as_u64(),
    };
    code.and_then(number).is_some_and(|code: u64| code != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_is_not_read() {
        let event = |name, data: &str| read(name, None, data.as_bytes(), SystemTime::UNIX_EPOCH);
        assert!(event(None, r#"{"choices":[],"error":null}"#).is_none());
        assert!(event(None, r#"{"type":"response.completed"}"#).is_none());
        assert!(event(Some("message"), r#"{"message":"overloaded"}"#).is_none());
        assert!(event(Some("error"), r#"{"message":"overloaded"}"#).is_some());
        assert!(event(Some("throttlingException"), r#"{"message":"no"}"#).is_some());
    }
}
