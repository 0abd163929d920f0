//! Wait, then send the same request again.
//!
//! 1. A rejection that time remedies (rate limited, overloaded) is waited for: as long as the provider
//!    says, or else as long as [`Delays`] say. A hint is never undercut; jitter only adds to it.
//! 2. A hint longer than [`max_wait`](BackoffLayer::max_wait), or than what is left until the
//!    deadline, is not slept on and not cut short: the rejection is returned at once, so that an
//!    outer layer, or the caller, can act.
//! 3. What time does not cure is returned at once: the limit of a day or a plan, a quota,
//!    `x-should-retry: false`.
//!    One quota is waited for: OpenRouter's of the requests in flight, which comes back when they end.
//! 4. Other statuses and the client's own errors are opt-in: such a request may have been processed.
//! 5. The last answer is the provider's own, whole, with the [trail](crate::trail) in its extensions.
//!
//! Its place in a stack is outside key rotation and fallback: another key first, then another model,
//! then a wait.

mod decision;
mod delays;
mod layer;
mod service;

pub use crate::trigger::{AsError, IfError, NoErrors, RetryOnError};
pub use delays::{Delays, Exponential, ExponentialIter};
pub use layer::BackoffLayer;
pub use service::{Backoff, ResponseFuture};
