//! From what a response says to what it means: the kind first, the delay second.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header};

use super::{
    Bucket, Dimension, Provider, Reason, Rejection, Scope, Window,
    bucket::{self, Reported},
    codes, google,
    meaning::{self, Meaning, NOTHING},
    phrases, plan, prose, provider_codes, remedies,
    report::{self, Belief, Report},
    reset, retry_after, words,
};

/// Headers whose value is a code.
const CODE_HEADERS: &[&str] = &["x-amzn-errortype", "x-ratelimit-type", "x-ms-error-code"];

/// Headers whose value names a limit.
const NAMING_HEADERS: &[&str] = &["x-ratelimit-type", "policy-id"];

/// Resets that name no dimension, what is left of theirs, and how much they hold.
const UNNAMED_RESETS: &[[&str; 3]] = &[
    [
        "x-ratelimit-reset",
        "x-ratelimit-remaining",
        "x-ratelimit-limit",
    ],
    [
        "x-rate-limit-reset",
        "x-rate-limit-remaining",
        "x-rate-limit-limit",
    ],
    ["ratelimit-reset", "ratelimit-remaining", "ratelimit-limit"],
];

/// A rejection from all that is known: status and headers are those of a response; an event in a
/// stream has neither.
pub(super) struct Evidence<'a> {
    pub(super) provider: Provider,
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
    is_identity(headers).then(|| report::of_event(None, None, body, clock))?
}

// === impl Evidence ===

impl Evidence<'_> {
    pub(super) fn rejection(mut self) -> Option<Rejection> {
        let belief = self.belief();
        self.report = self.report.map(|report| report.with_ends(belief));
        let provider = match (self.provider, &self.report) {
            (Provider::Generic, Some(report)) => report.provider.unwrap_or_default(),
            (known, _) => known,
        };
        if self.says_that_a_header_is_wrong() {
            return None;
        }
        let message = self.message();
        let mut meaning = meaning::join(&self.signs(provider, &message));
        meaning.reason?;
        let buckets = self.buckets(provider);
        self.name_the_limit(&mut meaning, provider, &buckets);
        self.correct(&mut meaning, provider, &buckets, &message);
        let mut rejection = meaning.rejection()?;
        rejection.should_retry = should_retry(self.headers);
        rejection.retry_after = self.hint(&rejection, provider, &buckets, &message);
        self.adjust(&mut rejection, provider, &message);
        Some(rejection)
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
    fn signs(&self, provider: Provider, message: &str) -> Vec<Meaning> {
        let sentences = match self.belief() {
            Belief::All => message.into(),
            Belief::Unquoted | Belief::Words => phrases::without_quotes(message),
        };
        let plan = self.plan(&sentences);
        // A plan's sentence knows the window better than the code beside it, and the owner less well.
        let window = plan.map(|plan| Meaning {
            scope: None,
            ..plan
        });
        let mut signs: Vec<_> = window.into_iter().collect();
        let stated = self.report.as_ref().and_then(|report| report.status);
        // The response's own status first; a proxy's 500 may repeat the 429 that it got.
        let by_status = [self.status, stated]
            .into_iter()
            .flatten()
            .find_map(Reason::from_status);
        let by_header = CODE_HEADERS.iter().filter_map(|name| {
            let value = self.headers.get(*name)?.to_str().ok()?;
            codes::meaning(provider, &codes::normal(value)?)
        });
        let mut codes: Vec<_> = by_header.collect();
        if let Some(report) = &self.report {
            let provider = self.provider_of_codes(provider, message);
            let named = report.codes.iter();
            codes.extend(named.filter_map(|code| codes::meaning(provider, code)));
            // OpenAI, of a project that may not use a model: it was not found, but with 403.
            let is_not_found = report.codes.iter().any(|code| code == "model_not_found");
            if is_not_found && self.status == Some(403) {
                codes.push(phrases::MODEL_DENIED);
            }
        }
        // AWS throttles with a 503 too (`SlowDown`, `RequestLimitExceeded`): there the code is what tells.
        let is_throttled = codes
            .iter()
            .any(|sign| sign.reason == Some(Reason::RateLimited));
        let by_status = by_status.filter(|reason| *reason != Reason::Overloaded || !is_throttled);
        signs.extend(by_status.map(|reason| NOTHING.because(reason)));
        signs.append(&mut codes);
        let phrases = phrases::meanings(&sentences, self.status);
        signs.extend(phrases.map(|sign| self.believe(sign)));
        signs.extend(plan);
        signs.retain(|sign| {
            sign.reason
                .is_none_or(|reason| meaning::is_possible(reason, self.status))
        });
        signs
    }

    /// Whose the codes of the body are: a proxy hands on what an upstream has said.
    fn provider_of_codes(&self, provider: Provider, message: &str) -> Provider {
        let upstream = self.report.as_ref().and_then(|report| report.provider);
        match provider {
            _ if phrases::is_of_dash_scope(message) => Provider::DashScope,
            Provider::LiteLlm => upstream.unwrap_or(provider),
            _ => provider,
        }
    }

    /// A plan's limit is a rate under the status of one. Kimi says it with a 403, which is otherwise one of
    /// keys: there only what a key has used up is believed.
    fn plan(&self, sentences: &str) -> Option<Meaning> {
        let limit = plan::limit(sentences)?;
        match self.status {
            None | Some(429) => Some(limit),
            Some(402 | 403 | 412 | 500..) => Some(limit.because(Reason::QuotaExhausted)),
            _ => None,
        }
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

    /// A sentence about a rate limit makes no rejection of another status: "Too many requests in
    /// this batch" is an ordinary 400.
    fn believe(&self, mut sign: Meaning) -> Meaning {
        let is_plain = matches!(self.status, None | Some(429));
        if sign.reason == Some(Reason::RateLimited) && !is_plain {
            sign.reason = None;
        }
        sign
    }

    fn buckets(&self, provider: Provider) -> Buckets {
        let mut named = bucket::named(self.headers, provider, self.now);
        if let Some(report) = &self.report {
            // Headers told in a body have no clock of their own.
            let clock = retry_after::date(self.headers).unwrap_or(self.now);
            named.append(&mut bucket::named(&report.headers, provider, clock));
        }
        Buckets {
            named,
            listed: bucket::listed(self.headers),
        }
    }

    /// Dimension and window: from the code, Google's quotas, the message, a header, the empty bucket.
    fn name_the_limit(&self, meaning: &mut Meaning, provider: Provider, buckets: &Buckets) {
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
        if matches!(
            meaning.reason,
            Some(Reason::QuotaExhausted | Reason::RateLimited)
        ) {
            self.name_the_plan(meaning, buckets);
        }
        if meaning.reason == Some(Reason::RateLimited) {
            if let Some(exhausted) = buckets.longest_exhausted(meaning.dimension) {
                meaning.complete(Some(exhausted.dimension), exhausted.window);
                if meaning.dimension == Some(exhausted.dimension) {
                    meaning.scope = meaning.scope.or(exhausted.scope);
                }
            }
            let names_nothing = meaning.dimension.is_none() && meaning.window.is_none();
            let codes = self.report.iter().flat_map(|report| &report.codes);
            let mut usual = codes.filter_map(|code| provider_codes::usual_limit(code));
            let usual = usual.next().map(|dimension| (dimension, Window::Minute));
            let only = provider.only_limit().or(usual);
            if let Some((dimension, window)) = only.filter(|_| names_nothing) {
                meaning.complete(Some(dimension), Some(window));
            }
        }
    }

    /// Which window of a plan is exhausted, by the headers that report all of them. They know it better
    /// than a code, which may be the same for every window (Codex), and than the sentence of each
    /// ("your account's rate limit", Anthropic).
    fn name_the_plan(&self, meaning: &mut Meaning, buckets: &Buckets) {
        let Some(plan) = buckets.longest_exhausted(Some(Dimension::Spend)) else {
            return;
        };
        let is_unnamed = meaning.window.is_none_or(|it| it == plan::SHORTEST);
        let is_other = meaning
            .dimension
            .is_some_and(|counted| counted != Dimension::Spend);
        if is_other || !is_unnamed {
            return;
        }
        meaning.window = plan.window.or(meaning.window);
        meaning.scope = plan.scope.or(meaning.scope);
        if let Some(scope) = plan.scope {
            meaning.remedies.model = Some(scope.is_of_one_model());
        }
    }

    /// What is called a rate limit and is none.
    fn correct(&self, meaning: &mut Meaning, provider: Provider, buckets: &Buckets, message: &str) {
        if meaning.reason != Some(Reason::RateLimited) {
            return;
        }
        let mut quotas = self.report.iter().flat_map(|report| &report.quotas);
        // The first request of a model that the plan does not contain is already too many.
        let is_zero = match provider {
            // JSON of protocol buffers leaves out a value of zero: then only the message has it.
            Provider::Gemini => {
                quotas.any(|quota| quota.is_zero) || google::names_a_limit_of_zero(message)
            }
            Provider::Mistral => buckets.named.iter().any(Reported::has_limit_of_zero),
            _ => quotas.any(|quota| quota.is_zero),
        };
        if is_zero || meaning.window == Some(Window::Month) {
            meaning.reason = Some(Reason::QuotaExhausted);
        }
        if is_zero {
            meaning.scope = provider.scope();
        }
    }

    /// The first positive of: headers for the purpose, a field of the body, an upstream's headers in
    /// the body, a sentence of the body, the reset of an empty bucket, `RateLimit`, an unnamed reset.
    fn hint(
        &self,
        rejection: &Rejection,
        provider: Provider,
        buckets: &Buckets,
        message: &str,
    ) -> Option<Duration> {
        let by_head = retry_after::from_headers(self.headers, self.now);
        if rejection.reason == Reason::KeyRejected {
            return by_head;
        }
        let clock = retry_after::date(self.headers).unwrap_or(self.now);
        let field = self.report.as_ref().and_then(|report| report.delay);
        let told = self.report.as_ref();
        let told = told.and_then(|report| retry_after::from_headers(&report.headers, clock));
        let [named, listed] = match rejection.reason {
            Reason::RateLimited => {
                let resets = |reported: &Vec<Reported>| {
                    longest_reset(reported, rejection.dimension, rejection.window)
                };
                [&buckets.named, &buckets.listed].map(resets)
            }
            // A plan's window is called a quota too.
            Reason::QuotaExhausted => {
                let plan = Some(Dimension::Spend);
                [longest_reset(&buckets.named, plan, rejection.window), None]
            }
            _ => [None, None],
        };
        let sentence = prose::delay(message, clock);
        let unnamed = std::iter::once_with(|| {
            let limited = rejection.reason == Reason::RateLimited;
            limited.then(|| self.unnamed_reset(provider, clock))?
        });
        let fields = [by_head, field, told];
        let known = fields.into_iter().chain([sentence, named, listed]);
        let first = retry_after::first_positive(known.chain(unnamed))?;
        // A proxy's header has whole seconds of the delay in the answer that it wraps; Gemini's own field has
        // those of the sentence beside it.
        let is_cut_off = |wait: &Duration| {
            first.subsec_nanos() == 0 && !first.is_zero() && wait.as_secs() == first.as_secs()
        };
        let sentence = sentence.filter(|_| by_head == Some(first));
        let wrapped = [field, told, sentence].into_iter().flatten();
        let wrapped = wrapped.filter(is_cut_off);
        wrapped.chain([first]).max()
    }

    /// A reset that names no dimension is of the limit that refused, unless something is left of its
    /// own; Together's is always what is to be waited for.
    fn unnamed_reset(&self, provider: Provider, clock: SystemTime) -> Option<Duration> {
        let text = |name: &str| self.headers.get(name)?.to_str().ok();
        let is_zero = |value: &str| value.trim() == "0";
        let of = |[reset, remaining, limit]: &[&str; 3]| {
            let is_exhausted =
                text(remaining).is_none_or(is_zero) && !text(limit).is_some_and(is_zero);
            let reset = text(reset).filter(|_| is_exhausted || provider == Provider::Together)?;
            retry_after::longest_of(reset, |reset| reset::parse(reset, clock))
        };
        UNNAMED_RESETS.iter().filter_map(of).max()
    }

    /// What follows from kind and delay together.
    fn adjust(&self, rejection: &mut Rejection, provider: Provider, message: &str) {
        let clock = retry_after::date(self.headers).unwrap_or(self.now);
        rejection.available_at = prose::date(message, clock);
        if rejection.reason != Reason::RateLimited {
            return;
        }
        let soon = rejection
            .retry_after
            .is_some_and(|wait| wait <= remedies::SOON);
        // Without details only the delay shows that Gemini means the day.
        if provider == Provider::Gemini
            && rejection.window.is_none()
            && rejection.retry_after.is_some()
            && !soon
        {
            rejection.window = Some(Window::Day);
        }
        // Codex: only the delay shows which window of the plan is used up.
        if let Some(wait) = rejection.retry_after {
            if rejection.window == Some(plan::SHORTEST) {
                rejection.window = rejection.window.max(Window::covering(wait));
            }
        }
        // OpenAI and Groq: a day's limit that lets one request pass every `86400 / limit` seconds.
        let refills = message.contains("try again in ")
            && (message.contains("in organization") || message.contains(", requested "));
        if rejection.window >= Some(Window::Day) && refills && soon {
            rejection.remedies.time = Some(true);
        }
        rejection.scope = rejection.scope.or(provider.scope());
        if provider == Provider::OpenRouter && rejection.scope == Some(Scope::Model) {
            rejection.remedies.key = Some(false);
        }
    }
}

/// The buckets of a response: those in headers of their own, and those of `RateLimit`.
struct Buckets {
    named: Vec<Reported>,
    listed: Vec<Reported>,
}

// === impl Buckets ===

impl Buckets {
    /// The exhausted bucket with the longest window, of those that count `dimension`.
    fn longest_exhausted(&self, dimension: Option<Dimension>) -> Option<&Bucket> {
        let [named, listed] =
            [&self.named, &self.listed].map(|reported| Reported::exhausted(reported, dimension));
        named.chain(listed).max_by_key(|bucket| bucket.window)
    }
}

/// The longest reset of the exhausted buckets that can be the limit that was named.
fn longest_reset(
    reported: &[Reported],
    dimension: Option<Dimension>,
    window: Option<Window>,
) -> Option<Duration> {
    Reported::exhausted(reported, dimension)
        .filter(|bucket| match (window, bucket.window) {
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
