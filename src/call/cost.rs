//! What a request costs: the caller's own number, the count of a layer's closure, or an estimate.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Method, Uri, header};

use super::head::Head;
use crate::request::Cost;

/// A request whose tokens a closure counts, such as that of [`BackoffLayer::cost`](crate::BackoffLayer::cost).
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct CostRequest<'a> {
    /// The method.
    pub method: &'a Method,
    /// The URI.
    pub uri: &'a Uri,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The whole body, as it is sent.
    pub body: &'a Bytes,
}

/// A layer's closure that counts the tokens of a request.
#[derive(Clone)]
pub(crate) struct TokenCounter(Arc<CountTokens>);

type CountTokens = dyn Fn(CostRequest<'_>) -> Option<Cost> + Send + Sync;

/// What is known of the cost of a call.
#[derive(Default)]
pub(super) struct CallCost {
    /// What the caller has set, or a closure has counted.
    counted: Option<Cost>,
    estimate: Option<Cost>,
    by_length: Option<Cost>,
    /// The closures of the layers, the outermost first.
    counters: Vec<TokenCounter>,
    /// How many of them have returned nothing.
    passed: usize,
}

/// What has not been tried yet to find the cost.
pub(super) struct Uncounted {
    counters: Vec<TokenCounter>,
    passed: usize,
    estimate: Option<Cost>,
}

/// What was found.
pub(super) struct FoundCost {
    counted: Option<Cost>,
    estimate: Option<Cost>,
    tried: usize,
}

// === impl CostRequest ===

impl fmt::Debug for CostRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The rest is not printed, because it may have a key or a confidential prompt.
        f.debug_struct("CostRequest")
            .field("method", self.method)
            .finish_non_exhaustive()
    }
}

// === impl TokenCounter ===

impl TokenCounter {
    pub(crate) fn new(
        count: impl Fn(CostRequest<'_>) -> Option<Cost> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(count))
    }

    fn count(&self, head: &Head, body: &Bytes) -> Option<Cost> {
        (self.0)(CostRequest {
            method: &head.method,
            uri: &head.uri,
            headers: &head.headers,
            body,
        })
    }
}

impl fmt::Debug for TokenCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenCounter")
    }
}

// === impl CallCost ===

impl CallCost {
    pub(super) fn new(of_caller: Option<Cost>) -> Self {
        Self {
            counted: of_caller,
            ..Self::default()
        }
    }

    /// Adds the closure of a layer, unless an earlier request of the call has brought it.
    pub(super) fn add_counter(&mut self, counter: &TokenCounter) {
        let is_same = |known: &TokenCounter| Arc::ptr_eq(&known.0, &counter.0);
        if !self.counters.iter().any(is_same) {
            self.counters.push(counter.clone());
        }
    }

    /// What the caller has set, a closure has counted, or the body shows.
    pub(super) fn precise(&self) -> Option<Cost> {
        self.counted.or(self.estimate)
    }

    /// The best that is known, or else an estimate by the length of the body.
    pub(super) fn known(&mut self, headers: &HeaderMap, length: Option<u64>) -> Option<Cost> {
        if self.by_length.is_none() {
            let length = length.or_else(|| content_length(headers));
            self.by_length = length.map(Cost::of_length);
        }
        self.precise().or(self.by_length)
    }

    /// Returns what can still be tried; `None` if nothing would change the cost.
    pub(super) fn uncounted(&self) -> Option<Uncounted> {
        let is_untried = self.passed < self.counters.len();
        let is_open = self.counted.is_none() && (self.estimate.is_none() || is_untried);
        is_open.then(|| Uncounted {
            counters: self.counters.clone(),
            passed: self.passed,
            estimate: self.estimate,
        })
    }

    pub(super) fn record(&mut self, found: FoundCost) {
        let FoundCost {
            counted,
            estimate,
            tried,
        } = found;
        // What other requests of the call have found meanwhile is kept.
        self.counted = self.counted.or(counted);
        self.estimate = self.estimate.or(estimate);
        self.passed = self.passed.max(tried);
    }
}

// === impl Uncounted ===

impl Uncounted {
    /// Counts the tokens of a request, or else estimates them.
    pub(super) fn count(&self, head: &Head, body: &Bytes) -> FoundCost {
        let mut untried = self.counters.iter().skip(self.passed);
        let counted = untried.find_map(|counter| counter.count(head, body));
        let estimate = match (counted, self.estimate) {
            (None, None) => Some(Cost::estimate(&head.headers, body)),
            (_, known) => known,
        };
        FoundCost {
            counted,
            estimate,
            tried: self.counters.len(),
        }
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests;
