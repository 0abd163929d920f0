//! Removes possible secrets from text that clients have written.

use std::cmp::Reverse;

use http::header::HeaderName;

use super::credentials;

/// Stands in the place of removed text.
const CUT: &str = "…";

/// Punctuation that may follow a word.
const CLOSING: [char; 13] = [
    '"', '\'', '`', ')', ']', '}', '>', ',', ';', ':', '.', '!', '?',
];

/// The shortest run of letters and digits that is taken for a key.
const MIN_KEY_LENGTH: usize = 20;

/// The shortest secret that is searched for, because a shorter one may be part of any word.
const MIN_SECRET_LENGTH: usize = 4;

/// Prefixes of keys that may contain no digit.
const PREFIXES: [&str; 8] = [
    "hf_", "gsk_", "xai-", "pplx-", "nvapi-", "r8_", "fw_", "AIza",
];

/// Returns `text` on one line and redacted.
///
/// It removes user names, paths and queries of URLs, `secrets`, and words that are marked as credentials
/// or look like keys.
pub(crate) fn redact(text: &str, mut secrets: Vec<String>) -> String {
    secrets.retain(|secret| secret.len() >= MIN_SECRET_LENGTH);
    // The longest secret is replaced first, because another one may be its start.
    secrets.sort_unstable_by_key(|secret| Reverse(secret.len()));
    let known = secrets
        .iter()
        .fold(text.to_owned(), |text, secret| text.replace(secret, CUT));
    let mut words = Vec::new();
    let mut is_credential = false;
    for word in known.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        words.push(match is_credential && !is_scheme(word) {
            true => format!("{CUT}{}", closing(word)),
            false => redact_word(word),
        });
        is_credential = is_scheme(word) || names_credential(word);
    }
    words.join(" ")
}

/// Whether the word is a scheme of `authorization`, which a credential follows.
fn is_scheme(word: &str) -> bool {
    let word = bare(word);
    word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("basic")
}

/// Whether the word is the name of a header with a credential, and its value follows.
fn names_credential(word: &str) -> bool {
    let name = word.strip_suffix([':', '=']);
    name.is_some_and(|name| is_header(bare(name)))
}

/// Whether headers of this name carry credentials.
fn is_header(name: &str) -> bool {
    let name = name.parse::<HeaderName>();
    name.is_ok_and(|name| credentials::is_credential_header(&name))
}

fn redact_word(word: &str) -> String {
    if let Some((scheme, rest)) = word.split_once("://") {
        let (authority, path) = match rest.find(['/', '?', '#']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let host = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        let scheme = redact_parts(scheme);
        return match path {
            "" => format!("{scheme}://{host}"),
            path => format!("{scheme}://{host}/{CUT}{}", closing(path)),
        };
    }
    let content = word.trim_end_matches(CLOSING);
    let closing = closing(word);
    match (content.split_once('?'), content.rsplit_once('@')) {
        (Some((path, _)), _) => format!("{}?{CUT}{closing}", redact_parts(path)),
        (None, Some((_, host))) => format!("{CUT}@{host}{closing}"),
        (None, None) => redact_parts(word),
    }
}

/// Removes the values of parameters and headers with credentials, and runs that look like keys.
fn redact_parts(word: &str) -> String {
    if let Some((name, value)) = word.split_once(['=', ':']) {
        let name = bare(name);
        if !bare(value).is_empty()
            && (credentials::is_credential_parameter(name) || is_header(name))
        {
            return format!("{name}={CUT}{}", closing(value));
        }
    }
    let is_of_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    // Base64, and keys that join an identifier and a secret by a dot or a colon.
    let joins = |c: char| matches!(c, '.' | ':' | '+' | '/' | '=' | '~' | '%');
    let mut redacted = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(start) = rest.find(is_of_key) {
        let (before, run) = rest.split_at(start);
        let end = run.find(|c| !is_of_key(c)).unwrap_or(run.len());
        redacted.push_str(before);
        if looks_like_key(&run[..end]) {
            let end = run.find(|c| !is_of_key(c) && !joins(c));
            let whole = run[..end.unwrap_or(run.len())].trim_end_matches(joins);
            redacted.push_str(CUT);
            rest = &run[whole.len()..];
        } else {
            redacted.push_str(&run[..end]);
            rest = &run[end..];
        }
    }
    redacted.push_str(rest);
    redacted
}

/// Keys have twenty characters or more and mix letters and digits. Most keys of language models begin with
/// `sk-`.
fn looks_like_key(run: &str) -> bool {
    let has = |of: fn(&u8) -> bool| run.as_bytes().iter().any(of);
    let is_mixed = || has(u8::is_ascii_alphabetic) && has(u8::is_ascii_digit);
    let has_prefix = || PREFIXES.iter().any(|prefix| run.starts_with(prefix));
    run.starts_with("sk-") || (run.len() >= MIN_KEY_LENGTH && (is_mixed() || has_prefix()))
}

fn bare(word: &str) -> &str {
    word.trim_matches(|c: char| CLOSING.contains(&c) || matches!(c, '(' | '[' | '{' | '<' | '='))
}

/// Returns the punctuation after the content of a word.
fn closing(word: &str) -> &str {
    let content = word.trim_end_matches(CLOSING);
    word.strip_prefix(content).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redact_removes_secrets_and_keeps_the_cause() {
        let table = [
            (
                "connection refused (os error 111)",
                "connection refused (os error 111)",
            ),
            (
                "client error (Connect): tcp connect error: timed out",
                "client error (Connect): tcp connect error: timed out",
            ),
            (
                "error sending request for url (https://me:pw@api.example:8443/v1/TENANT?key=abc): refused",
                "error sending request for url (https://api.example:8443/…): refused",
            ),
            (
                "proxy \"http://me:pw@proxy.example\" failed",
                "proxy \"http://proxy.example\" failed",
            ),
            (
                "GET /v1/models?alt=sse&key=abc, then",
                "GET /v1/models?…, then",
            ),
            ("why? because", "why? because"),
            (
                "me:pw@proxy.example:80: refused",
                "…@proxy.example:80: refused",
            ),
            (
                "authorization: Bearer abc, sent",
                "authorization: Bearer …, sent",
            ),
            ("header x-api-key: abc", "header x-api-key: …"),
            ("{\"x-api-key\":\"abc\"}", "x-api-key=…\"}"),
            ("api_key=abc; retried", "api_key=…; retried"),
            ("Bearer abc", "Bearer …"),
            ("key sk-one was sent", "key … was sent"),
            ("(AIzaSyA1234567890abcdefg)", "(…)"),
            ("hf_abcdefghijklmnopqrstuvwxyzABCDEFGH.", "…."),
            (
                "key 0123456789abcdef0123456789abcdef.s3cretS3cret: gone",
                "key …: gone",
            ),
            ("ABSKQmVkcm9ja0FQSUtleS1x+y/z9==, sent", "…==, sent"),
            ("hunter2-long, hunter2", "…, …"),
            (
                "bedrock-runtime.us-east-1.amazonaws.com",
                "bedrock-runtime.us-east-1.amazonaws.com",
            ),
            (
                "hyper_util::client::legacy::Error",
                "hyper_util::client::legacy::Error",
            ),
            (
                "the call's own credential: hunter2!",
                "the call's own credential: …!",
            ),
            ("two\nlines\u{1b}[0m", "two lines [0m"),
            ("", ""),
        ];
        for (text, expected) in table {
            assert_eq!(
                redact(text, vec!["hunter2".into(), "hunter2-long".into()]),
                expected
            );
        }
    }
}
