//! From what a response says to what it means: the kind first, the delay second.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header};

use super::{
    Bucket, Dialect, Dimension, Reason, Refusal, Scope, Window, bucket, codes, cures, google,
    meaning::{self, Meaning, NOTHING},
    phrases, prose, rate_limit_field,
    report::{self, Belief, Report},
    reset, retry_after, words,
};

/// Headers whose value is a code.
const CODE_HEADERS: &[&str] = &["x-amzn-errortype", "x-ratelimit-type", "x-ms-error-code"];

/// Headers whose value names a limit.
const NAMING_HEADERS: &[&str] = &["x-ratelimit-type", "policy-id"];

/// Resets that name no dimension, and what is left of theirs.
const UNNAMED_RESETS: &[(&str, &str)] = &[
    ("x-ratelimit-reset", "x-ratelimit-remaining"),
    ("x-rate-limit-reset", "x-rate-limit-remaining"),
    ("ratelimit-reset", "ratelimit-remaining"),
];

/// A refusal from all that is known: status and headers are those of a response; an event in a
/// stream has neither.
pub(super) struct Evidence<'a> {
    pub(super) dialect: Dialect,
    pub(super) status: Option<u16>,
    pub(super) headers: &'a HeaderMap,
    pub(super) report: Option<Report>,
    pub(super) now: SystemTime,
}

/// Whether the body is what it seems: bytes in a content coding are not JSON yet.
fn is_identity(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .all(|value| value.as_bytes().eq_ignore_ascii_case(b"identity") || value.is_empty())
}

/// What the body of an error says, if it can be read at all.
pub(super) fn error(headers: &HeaderMap, body: &[u8], now: SystemTime) -> Option<Report> {
    let clock = retry_after::date(headers).unwrap_or(now);
    is_identity(headers).then(|| report::of_body(body, clock))?
}

/// What the body of a success says, if it is an error after all.
pub(super) fn success(headers: &HeaderMap, body: &[u8], now: SystemTime) -> Option<Report> {
    let clock = retry_after::date(headers).unwrap_or(now);
    is_identity(headers).then(|| report::of_event(None, body, clock))?
}

// === impl Evidence ===

impl Evidence<'_> {
    pub(super) fn refusal(mut self) -> Option<Refusal> {
        let belief = self.belief();
        self.report = self.report.map(|report| report.with_ends(belief));
        let dialect = match (self.dialect, &self.report) {
            (Dialect::Generic, Some(report)) => report.dialect.unwrap_or_default(),
            (known, _) => known,
        };
        if self.says_that_a_header_is_wrong() {
            return None;
        }
        let message = self.message();
        let mut meaning = meaning::join(&self.signs(&message));
        meaning.reason?;
        let buckets = self.buckets(dialect);
        self.name_the_limit(&mut meaning, dialect, &buckets);
        self.correct(&mut meaning, dialect, &buckets, &message);
        let mut refusal = meaning.refusal()?;
        refusal.should_retry = should_retry(self.headers);
        refusal.retry_after = self.hint(&refusal, dialect, &buckets, &message);
        self.adjust(&mut refusal, dialect, &message);
        Some(refusal)
    }

    /// OpenAI's 401 for an `openai-organization` that is not the key's (openai/codex#1000): the caller has
    /// sent it, and it says nothing of the key.
    fn says_that_a_header_is_wrong(&self) -> bool {
        let mut codes = self.report.iter().flat_map(|report| &report.codes);
        codes.any(|code| code == "mismatched_organization")
    }

    /// All messages in lower case, with one kind of apostrophe.
    fn message(&self) -> String {
        let text = self.report.as_ref().map_or("", |report| &report.text);
        text.to_lowercase().replace('\u{2019}', "'")
    }

    /// What the status, the codes and the message mean, each for itself.
    fn signs(&self, message: &str) -> Vec<Meaning> {
        let mut signs = Vec::new();
        let stated = self.report.as_ref().and_then(|report| report.status);
        // The response's own status first; a proxy's 500 may repeat the 429 that it got.
        let by_status = [self.status, stated]
            .into_iter()
            .flatten()
            .find_map(Reason::from_status);
        signs.extend(by_status.map(|reason| NOTHING.because(reason)));
        let by_header = CODE_HEADERS.iter().filter_map(|name| {
            let value = self.headers.get(*name)?.to_str().ok()?;
            codes::meaning(&codes::normal(value)?)
        });
        signs.extend(by_header);
        if let Some(report) = &self.report {
            signs.extend(report.codes.iter().filter_map(|code| codes::meaning(code)));
            // OpenAI, of a project that may not use a model: it was not found, but with 403.
            let is_not_found = report.codes.iter().any(|code| code == "model_not_found");
            if is_not_found && self.status == Some(403) {
                signs.push(phrases::MODEL_DENIED);
            }
        }
        let sentences = match self.belief() {
            Belief::All => message.into(),
            Belief::Unquoted | Belief::Words => phrases::without_quotes(message),
        };
        let phrases = phrases::meanings(&sentences, self.status);
        signs.extend(phrases.map(|sign| self.believe(sign)));
        signs.retain(|sign| {
            sign.reason
                .is_none_or(|reason| meaning::is_possible(reason, self.status))
        });
        signs
    }

    /// How far a message is believed, which may repeat the request: a model named "out of credits" is not
    /// what the account is. Who is told 401 or 402 was not heard to the end.
    fn belief(&self) -> Belief {
        match self.status {
            // 412 is said of accounts (Fireworks).
            Some(400 | 404..=411 | 413..429) => Belief::Words,
            Some(403) => Belief::Unquoted,
            _ => Belief::All,
        }
    }

    /// A sentence about a rate limit makes no refusal of another status: "Too many requests in
    /// this batch" is an ordinary 400.
    fn believe(&self, mut sign: Meaning) -> Meaning {
        let is_plain = matches!(self.status, None | Some(429));
        if sign.reason == Some(Reason::RateLimited) && !is_plain {
            sign.reason = None;
        }
        sign
    }

    fn buckets(&self, dialect: Dialect) -> Buckets {
        let mut named = bucket::named(self.headers, dialect, self.now);
        if let Some(report) = &self.report {
            // Headers told in a body have no clock of their own.
            let clock = retry_after::date(self.headers).unwrap_or(self.now);
            named.append(&mut bucket::named(&report.headers, dialect, clock));
        }
        Buckets {
            named,
            listed: rate_limit_field::buckets(self.headers),
        }
    }

    /// Dimension and window: from the code, Google's quotas, the message, a header, the empty bucket.
    fn name_the_limit(&self, meaning: &mut Meaning, dialect: Dialect, buckets: &Buckets) {
        if matches!(
            meaning.reason,
            Some(Reason::KeyRejected | Reason::Overloaded)
        ) {
            meaning.dimension = None;
            meaning.window = None;
            return;
        }
        if let Some(report) = &self.report {
            if let Some(quota) = google::decisive(&report.quotas) {
                meaning.complete(quota.dimension, quota.window);
            }
            let limit = words::limit(&report.text);
            // The type says "tokens" where the message says which.
            if meaning.dimension == Some(Dimension::Tokens)
                && limit.dimension.is_some_and(Dimension::is_of_tokens)
            {
                meaning.dimension = limit.dimension;
            }
            meaning.complete(limit.dimension, limit.window);
        }
        for name in NAMING_HEADERS {
            let value = self
                .headers
                .get(*name)
                .and_then(|value| value.to_str().ok());
            let limit = words::limit(value.unwrap_or_default());
            meaning.complete(limit.dimension, limit.window);
        }
        if meaning.reason == Some(Reason::RateLimited) {
            if let Some(spent) = buckets.longest_spent(meaning.dimension) {
                meaning.complete(Some(spent.dimension), spent.window);
            }
            let names_nothing = meaning.dimension.is_none() && meaning.window.is_none();
            if let Some((dimension, window)) = dialect.only_limit().filter(|_| names_nothing) {
                meaning.complete(Some(dimension), Some(window));
            }
        }
    }

    /// What is called a rate limit and is none.
    fn correct(&self, meaning: &mut Meaning, dialect: Dialect, buckets: &Buckets, message: &str) {
        if meaning.reason != Some(Reason::RateLimited) {
            return;
        }
        let mut quotas = self.report.iter().flat_map(|report| &report.quotas);
        // The first request of a model that the plan does not contain is already too many.
        let is_zero = match dialect {
            // JSON of protocol buffers leaves out a value of zero: then only the message has it.
            Dialect::Gemini => {
                quotas.any(|quota| quota.is_zero) || google::names_a_limit_of_zero(message)
            }
            Dialect::Mistral => buckets.named.iter().any(|bucket| bucket.limit == Some(0)),
            _ => quotas.any(|quota| quota.is_zero),
        };
        if is_zero || meaning.window == Some(Window::Month) {
            meaning.reason = Some(Reason::QuotaExhausted);
        }
        if is_zero {
            meaning.scope = dialect.scope();
        }
    }

    /// The first positive of: headers for the purpose, a field of the body, an upstream's headers in
    /// the body, a sentence of the body, the reset of an empty bucket, `RateLimit`, an unnamed reset.
    fn hint(
        &self,
        refusal: &Refusal,
        dialect: Dialect,
        buckets: &Buckets,
        message: &str,
    ) -> Option<Duration> {
        let by_head = retry_after::from_headers(self.headers, self.now);
        if refusal.reason == Reason::KeyRejected {
            return by_head;
        }
        let clock = retry_after::date(self.headers).unwrap_or(self.now);
        let field = self.report.as_ref().and_then(|report| report.delay);
        let told = self.report.as_ref();
        let told = told.and_then(|report| retry_after::from_headers(&report.headers, clock));
        let [named, listed] = match refusal.reason {
            Reason::RateLimited => {
                [&buckets.named, &buckets.listed].map(|buckets| longest_reset(buckets, refusal))
            }
            _ => [None, None],
        };
        let sentence = prose::delay(message, clock);
        let unnamed = std::iter::once_with(|| {
            let limited = refusal.reason == Reason::RateLimited;
            limited.then(|| self.unnamed_reset(dialect, clock))?
        });
        let known = [by_head, field, told, sentence, named, listed];
        retry_after::first_positive(known.into_iter().chain(unnamed))
    }

    /// A reset that names no dimension is of the limit that refused, unless something is left of its
    /// own; Together's is always what is to be waited for.
    fn unnamed_reset(&self, dialect: Dialect, clock: SystemTime) -> Option<Duration> {
        let text = |name: &str| self.headers.get(name)?.to_str().ok();
        let of = |(reset, remaining): &(&str, &str)| {
            let is_spent = text(remaining).is_none_or(|left| left.trim() == "0");
            let reset = text(reset).filter(|_| is_spent || dialect == Dialect::Together)?;
            reset::parse(reset, clock)
        };
        UNNAMED_RESETS.iter().filter_map(of).max()
    }

    /// What follows from kind and delay together.
    fn adjust(&self, refusal: &mut Refusal, dialect: Dialect, message: &str) {
        let clock = retry_after::date(self.headers).unwrap_or(self.now);
        refusal.available_at = prose::date(message, clock);
        if refusal.reason != Reason::RateLimited {
            return;
        }
        let soon = refusal.retry_after.is_some_and(|wait| wait <= cures::SOON);
        // Without details only the delay shows that Gemini means the day.
        if dialect == Dialect::Gemini
            && refusal.window.is_none()
            && refusal.retry_after.is_some()
            && !soon
        {
            refusal.window = Some(Window::Day);
        }
        // OpenAI and Groq: a day's limit that lets one request pass every `86400 / limit` seconds.
        let refills = message.contains("try again in ")
            && (message.contains("in organization") || message.contains(", requested "));
        if refusal.window >= Some(Window::Day) && refills && soon {
            refusal.cures.time = Some(true);
        }
        refusal.scope = refusal.scope.or(dialect.scope());
        if dialect == Dialect::OpenRouter && refusal.scope == Some(Scope::Model) {
            refusal.cures.key = Some(false);
        }
    }
}

/// The buckets of a response: those in headers of their own, and those of `RateLimit`.
struct Buckets {
    named: Vec<Bucket>,
    listed: Vec<Bucket>,
}

// === impl Buckets ===

impl Buckets {
    /// The empty bucket with the longest window, of those that count `dimension`.
    fn longest_spent(&self, dimension: Option<Dimension>) -> Option<&Bucket> {
        self.named
            .iter()
            .chain(&self.listed)
            .filter(|bucket| bucket.is_spent() && bucket.counts(dimension))
            .max_by_key(|bucket| bucket.window)
    }
}

/// The longest reset of the empty buckets that can be the limit that was named.
fn longest_reset(buckets: &[Bucket], refusal: &Refusal) -> Option<Duration> {
    buckets
        .iter()
        .filter(|bucket| bucket.is_spent() && bucket.counts(refusal.dimension))
        .filter(|bucket| match (refusal.window, bucket.window) {
            (Some(named), Some(counted)) => named == counted,
            _ => true,
        })
        .filter_map(|bucket| bucket.reset)
        .max()
}

fn should_retry(headers: &HeaderMap) -> Option<bool> {
    match headers.get("x-should-retry")?.as_bytes() {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}
