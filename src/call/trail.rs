//! The trail: what a caller reads of the log.

use std::{fmt, time::Duration};

use super::{attempt::Attempt, log::SendId, state::CallState};

/// What happened to a request, in the extensions of the response that the caller gets.
///
/// It is printed as one line per attempt:
///
/// ```text
/// 1. key-1, large: 429, key_rotation: next key
/// 2. key-2, large: 429, key_rotation: returned, no key free; backoff: wait of 1.2 s
/// 3. key-1, large: error (ConnectionReset): connection reset by peer (os error 104), backoff: wait of 1.0 s
/// 4. key-1, large: 200
/// ```
///
/// A request that ends in an error has no response. Put a [`Call`](crate::Call) into its extensions and
/// read [`Call::trail`](crate::Call::trail).
#[derive(Clone, Default)]
pub struct Trail {
    call: CallState,
    /// The attempt whose response this trail came with.
    entry: Option<SendId>,
}

// === impl Trail ===

impl Trail {
    pub(crate) fn new(call: CallState, entry: Option<SendId>) -> Self {
        Self { call, entry }
    }

    pub(crate) fn call(&self) -> &CallState {
        &self.call
    }

    /// The entry of the response that brought this trail, if it is a trail of this call.
    pub(crate) fn entry_in(&self, call: &CallState) -> Option<SendId> {
        self.entry.filter(|_| self.call.is_same(call))
    }

    /// Returns the attempts so far, in order.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.call.attempts()
    }

    /// Returns how long the sends were held back: the sum of all waits that have ended.
    pub fn waited(&self) -> Duration {
        self.call.waited()
    }
}

impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, attempt) in self.attempts().iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{attempt}")?;
        }
        Ok(())
    }
}

/// Writes `attempts`, and the sum of all waits as `waited_ms`.
#[cfg(feature = "serde")]
impl serde::Serialize for Trail {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct TrailFields {
            attempts: Vec<Attempt>,
            #[serde(serialize_with = "crate::serialize::millis")]
            waited_ms: Duration,
        }
        let (attempts, waited_ms) = (self.attempts(), self.waited());
        let fields = TrailFields {
            attempts,
            waited_ms,
        };
        fields.serialize(serializer)
    }
}

impl fmt::Debug for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.attempts()).finish()
    }
}
