//! What a provider says about a limit in numbers.

/// How much a limit allows, how much of it is used, and how much the request needs.
///
/// The unit is that of [`Rejection::dimension`](super::Rejection::dimension). A number that the provider
/// does not name, or that does not fit into 64 bits, is `None`.
///
/// ```
/// use std::time::SystemTime;
/// use tower_429::rejection::{Dimension, Rejection};
///
/// let (head, body) = http::Response::builder()
///     .status(429)
///     .body(r#"{"error": {"message": "On tokens per day (TPD): Limit 100, Used 97, Requested 5."}}"#)?
///     .into_parts();
/// let rejection = Rejection::from_parts(&head, body.as_bytes(), SystemTime::now()).unwrap();
/// assert_eq!(rejection.dimension, Some(Dimension::Tokens));
/// assert_eq!(rejection.numbers.limit, Some(100));
/// assert_eq!(rejection.numbers.used, Some(97));
/// assert_eq!(rejection.numbers.requested, Some(5));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LimitNumbers {
    /// How much the limit allows in its window, or at once.
    pub limit: Option<u64>,
    /// How much of it is used, as the provider counts it.
    ///
    /// Some providers include the rejected request, so it can be more than the limit.
    pub used: Option<u64>,
    /// How much the rejected request needs.
    pub requested: Option<u64>,
}

// === impl LimitNumbers ===

impl LimitNumbers {
    /// Returns `self`, with the numbers of `other` where `self` has none.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            limit: self.limit.or(other.limit),
            used: self.used.or(other.used),
            requested: self.requested.or(other.requested),
        }
    }
}
