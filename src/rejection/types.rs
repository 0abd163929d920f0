//! The parts of a [`Rejection`]: the reason, what the limit counts, over which time, and its owner.

use std::time::{Duration, SystemTime};

use super::numbers::LimitNumbers;

/// A response that reports "not now" or "not with this key".
///
/// The layers store it in the response's extensions, so that an outer layer or the caller can read it.
/// See the [module page](super) for the fields that are read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Rejection {
    /// Why the request was rejected.
    pub reason: Reason,
    /// What the limit counts, if the provider reports it.
    pub dimension: Option<Dimension>,
    /// The time over which the limit counts, if the provider reports it.
    pub window: Option<Window>,
    /// What the limit belongs to, if the response says it or if it is known for this provider.
    pub scope: Option<Scope>,
    /// What the provider says about this limit in numbers.
    pub numbers: LimitNumbers,
    /// The hint: how long the provider says to wait, from the moment the response arrived.
    ///
    /// The provider may send a hint even if a wait does not help: Gemini sends seconds when the quota of the
    /// day is spent. Check [`time_helps`](Self::time_helps) first.
    #[cfg_attr(
        feature = "serde",
        serde(
            rename = "retry_after_ms",
            serialize_with = "crate::serialize::optional_millis"
        )
    )]
    pub retry_after: Option<Duration>,
    /// The date from which the provider accepts requests again, if it names a day instead of a delay; at
    /// most a year away.
    #[cfg_attr(
        feature = "serde",
        serde(
            rename = "available_at_unix_s",
            serialize_with = "crate::serialize::optional_unix_seconds"
        )
    )]
    pub available_at: Option<SystemTime>,
    /// The value of `x-should-retry`: whether the provider suggests the same request with the same key.
    pub should_retry: Option<bool>,
    /// Known exceptions of the provider to what reason, window and scope imply.
    pub remedies: Remedies,
}

/// Known exceptions of a provider to what reason, window and scope imply.
///
/// Most rejections leave all three open. [`Rejection::time_helps`] and its siblings apply these exceptions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Remedies {
    /// Whether the rejection clears by itself within about an hour.
    ///
    /// `Some(true)` with a window of a day is a limit that refills bit by bit: OpenAI and Groq admit
    /// the next request of a day after seconds or minutes, and report when.
    pub time: Option<bool>,
    /// Whether a key of another group may help.
    pub key: Option<bool>,
    /// Whether another model of the same provider may help.
    pub model: Option<bool>,
}

/// Why a request was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Reason {
    /// A limit on requests or tokens was reached; time or another key helps.
    RateLimited,
    /// Money, credits or a plan ran out; waiting does not help.
    QuotaExhausted,
    /// The provider has no capacity; another key does not help.
    Overloaded,
    /// The key is wrong, expired, revoked, or not allowed to do this. The key itself is valid and lacks a
    /// permission if the scope is [`Scope::Request`], or if another model may help.
    KeyRejected,
    /// This request is too large for the limit; neither time nor a key helps.
    TooLarge,
    /// A condition of your own. The crate itself never reads it from a response.
    ///
    /// A service inside the layers puts a [`Rejection`](super::Rejection) with this reason into the extensions
    /// of a response, whatever its status. No layer acts on it unless
    /// [`BackoffLayer::on`](crate::BackoffLayer::on) or [`FallbackLayer::on`](crate::FallbackLayer::on) names
    /// it, or, for key rotation, unless [`Remedies::key`](super::Remedies::key) is `Some(true)`.
    ///
    /// ```
    /// use std::{convert::Infallible, time::Duration};
    /// use http::{Request, Response};
    /// use tower::{ServiceBuilder, ServiceExt, service_fn};
    /// use tower_429::{BackoffLayer, rejection::{Reason, Rejection}, trail::Trail};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let sent = std::cell::Cell::new(0);
    /// let provider = service_fn(|_: Request<String>| {
    /// #   sent.set(sent.get() + 1);
    ///     let body = if sent.get() == 1 { "not yet" } else { "done" };
    ///     async move { Ok::<_, Infallible>(Response::new(body.to_owned())) }
    /// });
    /// let client = ServiceBuilder::new()
    ///     .layer(BackoffLayer::new().on([Reason::RateLimited, Reason::Overloaded, Reason::Custom]))
    ///     .map_response(|mut response: Response<String>| {
    ///         if response.body() == "not yet" {
    ///             let mut rejection = Rejection::new(Reason::Custom);
    ///             rejection.retry_after = Some(Duration::from_secs(5));
    ///             response.extensions_mut().insert(rejection);
    ///         }
    ///         response
    ///     })
    ///     .service(provider);
    ///
    /// let request = Request::get("https://api.example/v1/batches/1").body(String::new())?;
    /// let response = client.oneshot(request).await?;
    /// assert_eq!(response.body(), "done");
    /// let trail = response.extensions().get::<Trail>().ok_or("no trail")?;
    /// assert!(trail.waited() >= Duration::from_secs(5));
    /// # Ok(())
    /// # }
    /// ```
    Custom,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Dimension {
    /// Requests.
    Requests,
    /// Tokens, in and out.
    Tokens,
    /// Tokens of the prompt.
    InputTokens,
    /// Tokens of the completion.
    OutputTokens,
    /// Requests in flight at once.
    Concurrency,
    /// Cloudflare's unit of computing.
    Neurons,
    /// Money, or the allowance of a subscription.
    Spend,
}

/// The time over which a limit counts.
///
/// Windows are ordered by their length. At [`Day`](Self::Day) and above, waiting does not help
/// within a call, unless the limit is known to [refill bit by bit](Remedies::time). At
/// [`FiveHours`](Self::FiveHours) it helps if the provider reports that the window ends within the hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Window {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// Five minutes (Hugging Face).
    FiveMinutes,
    /// An hour.
    Hour,
    /// Five hours: a session of a plan (Anthropic, Codex, Kimi, MiniMax, Ollama, Volcengine, Z.ai).
    FiveHours,
    /// A day.
    Day,
    /// A week.
    Week,
    /// A month, or a billing cycle.
    Month,
}

/// What a limit belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Scope {
    /// One key.
    Key,
    /// All keys of a project or workspace.
    Project,
    /// All keys of an account, organisation or team.
    Account,
    /// One model of a project.
    ProjectModel,
    /// One model of an account, organisation or team; a deployment of Azure.
    AccountModel,
    /// One model, for all its users.
    Model,
    /// The provider as a whole.
    Platform,
    /// This one request.
    Request,
}

// === impl Rejection ===

impl Rejection {
    /// Returns a rejection with only a reason.
    ///
    /// ```
    /// use tower_429::rejection::{Reason, Rejection};
    ///
    /// assert_eq!(Rejection::new(Reason::Overloaded).retry_after, None);
    /// ```
    pub fn new(reason: Reason) -> Self {
        Self {
            reason,
            dimension: None,
            window: None,
            scope: None,
            numbers: LimitNumbers::default(),
            retry_after: None,
            available_at: None,
            should_retry: None,
            remedies: Remedies::default(),
        }
    }
}

// === impl Dimension ===

impl Dimension {
    /// Whether it counts tokens of any kind.
    pub(crate) fn is_of_tokens(self) -> bool {
        matches!(self, Self::Tokens | Self::InputTokens | Self::OutputTokens)
    }

    /// Whether a limit on `self` can be the limit on `other` under another name. For example, a limit on all
    /// tokens is also a limit on the tokens of the prompt.
    pub(super) fn is_compatible(self, other: Self) -> bool {
        self == other || (self.is_of_tokens() && other.is_of_tokens())
    }
}

// === impl Window ===

impl Window {
    /// Returns the shortest window that is not shorter than `length`; `None` for zero and for more than a
    /// month.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_429::rejection::Window;
    ///
    /// assert_eq!(Window::covering(Duration::from_secs(60)), Some(Window::Minute));
    /// assert_eq!(Window::covering(Duration::from_secs(86_400)), Some(Window::Day));
    /// ```
    pub fn covering(length: Duration) -> Option<Self> {
        const LENGTHS: [(u64, Window); 8] = [
            (1, Window::Second),
            (60, Window::Minute),
            (300, Window::FiveMinutes),
            (3_600, Window::Hour),
            (5 * 3_600, Window::FiveHours),
            (86_400, Window::Day),
            (7 * 86_400, Window::Week),
            (31 * 86_400, Window::Month),
        ];
        let mut lengths = LENGTHS.iter().filter(|_| !length.is_zero());
        let (_, window) = lengths.find(|(seconds, _)| length <= Duration::from_secs(*seconds))?;
        Some(*window)
    }
}

// === impl Scope ===

impl Scope {
    /// Whether another model of the same provider has a limit of its own.
    pub(super) fn is_of_one_model(self) -> bool {
        matches!(self, Self::ProjectModel | Self::AccountModel | Self::Model)
    }
}
