//! Waits, then sends the same request again.
//!
//! 1. The layer waits after a rejection that time remedies (rate limited, overloaded). It waits as long as
//!    the provider says, or else as long as [`Delays`] say. No wait is shorter than the provider's hint;
//!    jitter only adds to it.
//! 2. If a hint is longer than [`max_wait`](BackoffLayer::max_wait) or than what is left until the
//!    deadline, the layer returns the rejection at once, so that an outer layer or the caller can act.
//! 3. The layer returns at once what time does not remedy: the limit of a day or a plan, a quota, and
//!    `x-should-retry: false`. The one quota that it waits for is OpenRouter's of the requests in flight,
//!    which is free again when they end.
//! 4. Other responses and the client's own errors are opt-in, because such a request may have been
//!    processed.
//! 5. The last response is the provider's own, unchanged, with the [trail](crate::trail) in its extensions.
//!
//! Place it outside key rotation and fallback, so that the stack tries another key first, then another
//! model, and waits last.
//!
//! # Conditions of your own
//!
//! [`on_status`](BackoffLayer::on_status), [`retry_if`](BackoffLayer::retry_if) and
//! [`on_error`](BackoffLayer::on_error) take closures. A condition that needs the body belongs into a service
//! inside the layers, which puts a [`Rejection`](crate::rejection::Rejection) into the extensions of the
//! response; see [`Reason::Custom`](crate::rejection::Reason::Custom).

mod delays;
mod layer;
mod limits;
mod strategy;
mod turn;

pub use crate::retry::{AsError, IfError, NoErrors, ResponseHead, RetryOnError};
pub use delays::{Delays, Exponential, ExponentialIter};
pub use layer::BackoffLayer;

/// The service of a [`BackoffLayer`].
pub type Backoff<S, D = Exponential, P = NoErrors> = crate::retry::Retry<S, BackoffLayer<D, P>>;

/// The future of [`Backoff`].
pub type ResponseFuture<S, B, R, D = Exponential, P = NoErrors> =
    crate::retry::ResponseFuture<S, B, R, BackoffLayer<D, P>>;
