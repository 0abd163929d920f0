//! What a request cost, as a header reports it.

use http::{HeaderMap, HeaderName};

use super::builder;

/// Mistral (client-ts#169).
const TOKENS_OF_REQUEST: HeaderName = HeaderName::from_static("x-ratelimit-tokens-query-cost");

/// Returns the tokens that the request took from the limits, if a header of its response reports them.
///
/// Only Mistral does. Of a header sent twice, the larger value holds; one that cannot be read, or does not fit
/// into 64 bits, counts as not sent.
pub(super) fn reported_cost(headers: &HeaderMap) -> Option<u64> {
    let values = headers.get_all(TOKENS_OF_REQUEST).into_iter();
    let costs = values.filter_map(|value| builder::count(value.to_str().ok()?.trim()));
    costs.max()
}
