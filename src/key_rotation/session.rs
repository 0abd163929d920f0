use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};

/// Keeps requests together: those of one session are asked with one key, as long as it is free.
///
/// Put it into a request's extensions. A provider's prompt cache is most often per organisation, so a
/// conversation that stays with its key finds its prompt there; and when a key cools, only its sessions
/// move.
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
    /// A session, by whatever names it; the name itself is not kept.
    pub fn new(name: impl Hash) -> Self {
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        Self(hasher.hash_one(name))
    }

    pub(super) fn hash(&self) -> u64 {
        self.0
    }
}
