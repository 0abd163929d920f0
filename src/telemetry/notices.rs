//! The warnings that are logged once, with what to do. They never contain a secret, a body or an address.

use std::sync::Arc;

use crate::rejection::{Provider, Reason};

/// What a pool has learned of a key, and a person should know.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "tracing"), allow(dead_code))]
pub(crate) enum KeyNotice {
    /// The key shares its limits with another.
    Shared {
        key: Arc<str>,
        with: Arc<str>,
        /// How that is known.
        source: &'static str,
        /// Whether it is the first such key of the pool.
        is_first: bool,
    },
    /// One of several keys is rejected, or its credits are spent.
    Unusable { key: Arc<str>, reason: Reason },
}

/// Logs what a pool has learned of a key.
#[cfg_attr(not(feature = "tracing"), allow(unused_variables))]
pub(crate) fn key(notice: &KeyNotice) {
    #[cfg(feature = "tracing")]
    match notice {
        KeyNotice::Shared {
            key,
            with,
            source,
            is_first,
        } => {
            macro_rules! event {
                ($level:ident, $text:literal) => {
                    tracing::$level!(
                        target: "tower_429", key = &**key, with = &**with, source = *source, $text
                    )
                };
            }
            match is_first {
                true => event!(
                    warn,
                    "key shares its limits with another, so it adds no quota: declare such keys with \
                     `Key::group`, or use keys of separate accounts"
                ),
                false => event!(info, "key shares its limits with another"),
            }
        }
        KeyNotice::Unusable { key, reason } => {
            macro_rules! event {
                ($text:literal) => {
                    tracing::warn!(target: "tower_429", key = &**key, $text)
                };
            }
            match reason {
                Reason::QuotaExhausted => event!(
                    "credits of a key are spent, the other keys serve on: add credits, or remove the key from \
                     the pool"
                ),
                _ => event!(
                    "provider rejects a key, the other keys serve on: replace the key, or remove it from the \
                     pool"
                ),
            }
        }
    }
}

/// Logs that the body of a 429 was not read.
#[cfg_attr(not(feature = "tracing"), allow(unused_variables))]
pub(crate) fn unread_body(provider: Provider) {
    #[cfg(feature = "tracing")]
    tracing::warn!(
        target: "tower_429",
        ?provider,
        "429 says nothing in its head, and its body was not read: put `InspectLayer` next to the client"
    );
}
