use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};

/// Keeps the requests of one session on one key, as long as that key is free.
///
/// Put it into a request's extensions. A provider's prompt cache is most often per organisation, so a
/// conversation that stays with its key finds its prompt there. If a key is on cooldown, only its sessions
/// move. If a key is busy, a call that may wait prefers it for a second and then takes another.
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
    pub fn new(name: impl Hash) -> Self {
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        Self(hasher.hash_one(name))
    }

    pub(super) fn id(&self) -> u64 {
        self.0
    }
}
