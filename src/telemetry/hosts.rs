//! Which hosts become labels. A gateway's callers may name any host, and a recorder keeps each label for
//! ever.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock},
};

/// The number of hosts with a label of their own: the first ones that occur.
const MOST: usize = 64;

/// No host has a longer name (RFC 1035, section 2.3.4).
const LONGEST: usize = 253;

/// Global like the recorder whose series it bounds, because layers come and go.
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
    // Another thread may have added hosts in between.
    if known.len() >= MOST && !known.contains(host) {
        return None;
    }
    let host: Arc<str> = host.into();
    known.insert(host.clone());
    Some(host)
}
