//! Which hosts become labels: a gateway's callers may name any, and what was a label once is kept for ever.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock},
};

/// So many have a label of their own, the first that come.
const MOST: usize = 64;

/// A longer one is no host's name (RFC 1035, section 2.3.4).
const LONGEST: usize = 253;

/// As global as the recorder, whose series it bounds: layers come and go.
static KNOWN: RwLock<BTreeSet<Arc<str>>> = RwLock::new(BTreeSet::new());

/// The host, in lower case, as a label; `None` if there is no room for one more.
pub(super) fn known(host: &str) -> Option<Arc<str>> {
    if host.len() > LONGEST {
        return None;
    }
    {
        let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(host) {
            return Some(known.clone());
        }
        if known.len() >= MOST {
            return None;
        }
    }
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    // Others may have come in between.
    if known.len() >= MOST && !known.contains(host) {
        return None;
    }
    let host: Arc<str> = host.into();
    known.insert(host.clone());
    Some(host)
}
