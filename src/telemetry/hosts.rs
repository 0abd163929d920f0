//! Which hosts become labels. A gateway's callers may name any host, and a recorder keeps each label for
//! ever.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
};

use metrics::{Key, Label};

use super::{ANSWERED, names};

/// The number of hosts with a label of their own: the first ones that occur.
const MOST: usize = 64;

/// No host has a longer name (RFC 1035, section 2.3.4).
const LONGEST: usize = 253;

/// Global like the recorder whose series it bounds, because layers come and go.
static KNOWN: RwLock<BTreeMap<&'static str, &'static Host>> = RwLock::new(BTreeMap::new());

/// A host that is a label. It is never freed, like the series of the recorder.
pub(super) struct Host {
    /// In lower case.
    pub(super) label: &'static str,
    /// The series of nearly every request, so that they are not made anew for each.
    pub(super) answered_calls: Key,
    pub(super) answered_attempts: Key,
}

/// Returns the host as a label; `None` if there is no room for one more.
pub(super) fn known(host: &str) -> Option<&'static Host> {
    if host.len() > LONGEST {
        return None;
    }
    {
        let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(host) {
            return Some(known);
        }
        if known.len() >= MOST {
            return None;
        }
    }
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    // Another thread may have added hosts in between.
    if let Some(known) = known.get(host) {
        return Some(known);
    }
    if known.len() >= MOST {
        return None;
    }
    let host = Host::new(host);
    known.insert(host.label, host);
    Some(host)
}

// === impl Host ===

impl Host {
    fn new(host: &str) -> &'static Self {
        let label: &'static str = Box::leak(host.into());
        let labels = |more: &[(&'static str, &'static str)]| {
            let host = [("host", label)];
            let labels = host.iter().chain(more);
            let labels = labels.map(|(name, value)| Label::from_static_parts(name, value));
            labels.collect::<Vec<_>>()
        };
        let outcome = ("outcome", ANSWERED);
        Box::leak(Box::new(Self {
            label,
            answered_calls: Key::from_parts(names::CALLS, labels(&[outcome])),
            answered_attempts: Key::from_parts(
                names::ATTEMPTS,
                labels(&[("target", "own"), outcome]),
            ),
        }))
    }
}
