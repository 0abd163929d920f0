//! The structured fields `RateLimit` and `RateLimit-Policy` of the IETF draft.
//!
//! The `sfv` crate is not used, because it has three dependencies and rejects Hugging Face's
//! `RateLimit-Policy`. That header is not a valid structured field: it has a string in the place of a
//! parameter's name.

use std::time::Duration;

use http::HeaderMap;

use super::{
    super::{
        parse::decimal::{self, SECOND},
        types::{Dimension, Window},
    },
    reported::Bucket,
};

/// Longer lists are not a policy.
const MAX_ITEMS: usize = 16;

/// One named item of a list: `"default";r=50;t=30`.
#[derive(Debug, PartialEq, Eq)]
struct PolicyItem<'a> {
    name: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

/// Returns the buckets of both fields; a malformed field is ignored as a whole, as the draft demands.
pub(super) fn buckets(headers: &HeaderMap) -> Vec<Bucket> {
    let policies = items(headers, "ratelimit-policy");
    let mut buckets = Vec::new();
    for item in items(headers, "ratelimit") {
        let policy = policies.iter().find(|policy| policy.name == item.name);
        let stated = |key| item.number(key).or_else(|| policy?.number(key));
        let unit = item.get("qu").or_else(|| policy?.get("qu"));
        let Some(dimension) = dimension(unit) else {
            continue;
        };
        let mut bucket = Bucket::new(dimension);
        bucket.window = stated("w").and_then(|w| Window::covering(Duration::from_secs(w)));
        bucket.limit = stated("q");
        bucket.remaining = item.number("r");
        bucket.reset = item.get("t").and_then(|t| decimal::hint(t, SECOND));
        bucket.forget_limit_of_zero();
        buckets.push(bucket);
    }
    buckets
}

/// Returns the dimension of a unit of the draft; `None` for bytes and private units, which a caller cannot
/// count.
fn dimension(unit: Option<&str>) -> Option<Dimension> {
    match unit {
        None | Some("requests") => Some(Dimension::Requests),
        Some("concurrent-requests") => Some(Dimension::Concurrency),
        Some("tokens") => Some(Dimension::Tokens),
        Some(_) => None,
    }
}

/// Returns the items of all lines of a field, or none if any item is malformed.
fn items<'a>(headers: &'a HeaderMap, name: &str) -> Vec<PolicyItem<'a>> {
    let mut items = Vec::new();
    for value in headers.get_all(name) {
        let value = value.to_str().ok();
        if value.and_then(|value| list(value, &mut items)).is_none() {
            return Vec::new();
        }
    }
    items
}

fn list<'a>(value: &'a str, items: &mut Vec<PolicyItem<'a>>) -> Option<()> {
    let mut rest = value.trim_matches([' ', '\t']);
    while items.len() < MAX_ITEMS {
        let (item, after) = item(rest)?;
        items.push(item);
        let after = after.trim_start_matches([' ', '\t']);
        if after.is_empty() {
            return Some(());
        }
        rest = after.strip_prefix(',')?.trim_start_matches([' ', '\t']);
    }
    None
}

fn item(text: &str) -> Option<(PolicyItem<'_>, &str)> {
    let (name, mut rest) = string(text)?;
    let mut item = PolicyItem {
        name,
        parameters: Vec::new(),
    };
    while let Some(after) = rest.strip_prefix(';') {
        let after = after.trim_start_matches(' ');
        // Hugging Face names the kind of its policy first and the policy itself second.
        if let Some((name, after)) = string(after) {
            item.name = name;
            rest = after;
            continue;
        }
        let end = after.find([';', ',', '=', ' ']).unwrap_or(after.len());
        let (key, after) = after.split_at(end);
        let (value, after) = match after.strip_prefix('=') {
            Some(after) if after.starts_with('"') => string(after)?,
            Some(after) => after.split_at(after.find([';', ',', ' ']).unwrap_or(after.len())),
            None => ("", after),
        };
        let must_be_a_number = matches!(key, "r" | "t" | "q" | "w");
        if key.is_empty() || (must_be_a_number && value.parse::<u64>().is_err()) {
            return None;
        }
        item.parameters.push((key, value));
        rest = after;
    }
    Some((item, rest))
}

/// Reads a quoted string; escapes stay, because names are only compared.
fn string(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('"')?;
    let mut escaped = false;
    let end = text.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    Some((&text[..end], &text[end + 1..]))
}

// === impl PolicyItem ===

impl<'a> PolicyItem<'a> {
    fn get(&self, key: &str) -> Option<&'a str> {
        let (_, value) = self.parameters.iter().find(|(name, _)| *name == key)?;
        Some(value)
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.get(key)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(field: &'static str, policy: &'static str) -> Vec<Bucket> {
        let mut headers = HeaderMap::new();
        headers.insert("ratelimit", field.parse().unwrap());
        headers.insert("ratelimit-policy", policy.parse().unwrap());
        buckets(&headers)
    }

    #[test]
    fn items_are_combined_with_their_policies() {
        let field = r#""burst";r=0;t=30, "daily";r=900;t=4000"#;
        let policy = r#""burst";q=100;w=60,"daily";q=1000;w=86400;qu="concurrent-requests""#;
        let [burst, daily] = &read(field, policy)[..] else {
            panic!("two items");
        };
        assert_eq!(burst.window, Some(Window::Minute));
        assert_eq!((burst.limit, burst.remaining), (Some(100), Some(0)));
        assert_eq!(burst.reset, Some(Duration::from_secs(30)));
        assert_eq!(daily.window, Some(Window::Day));
        assert_eq!(daily.dimension, Dimension::Concurrency);
    }

    #[test]
    fn form_of_hugging_face_is_read() {
        let policy = r#""fixed window";"api";q=2500;w=300"#;
        let [bucket] = &read(r#""api";r=2487;t=155"#, policy)[..] else {
            panic!("one item");
        };
        assert_eq!(bucket.window, Some(Window::FiveMinutes));
        assert_eq!(bucket.limit, Some(2_500));
    }

    #[test]
    fn malformed_field_is_ignored_completely() {
        for field in [
            "default;r=;t=abc",
            r#""default";r=;t=abc"#,
            r#""default";r=1,"#,
            r#""default";r=-1"#,
            r#""default;r=1"#,
            r#""a";r=1 "b";r=1"#,
            r#""default";=1"#,
            "",
            ",",
        ] {
            assert_eq!(read(field, ""), [], "{field:?}");
        }
    }

    #[test]
    fn absurd_time_is_no_reset() {
        let [bucket] = &read(
            r#""x";r=0;t=18446744073709551615"#,
            r#""x";q=1;w=99999999999"#,
        )[..] else {
            panic!("one item");
        };
        assert_eq!((bucket.reset, bucket.window), (None, None));
    }
}
