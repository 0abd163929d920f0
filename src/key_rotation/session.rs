use std::hash::Hash;

use super::affinity::session_hash;

/// Keeps the requests of one session on one key, as long as that key is free.
///
/// Put it into a request's extensions. A provider's prompt cache is most often per organisation, so a
/// conversation that stays with its key finds its prompt there. If a key is on cooldown, only its sessions
/// move. If a key is busy, a call that may wait prefers it for a second and then takes another.
///
/// The choice depends on the session's name and on the keys themselves, not on their labels or their order.
/// So processes with the same keys choose the same key for a session.
///
/// ```
/// use tower_429::key_rotation::Session;
///
/// let request = http::Request::post("https://api.example/v1/chat/completions")
///     .extension(Session::new("conversation 42"))
///     .body(String::from("{}"))?;
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session(u64);

// === impl Session ===

impl Session {
    /// Returns a session with this name. The name itself is not kept.
    ///
    /// A text is the same session in every process. A number is so among machines of one byte order.
    pub fn new(name: impl Hash) -> Self {
        Self(session_hash(name))
    }

    pub(super) fn id(&self) -> u64 {
        self.0
    }
}
