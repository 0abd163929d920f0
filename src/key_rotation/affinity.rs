//! Which key a session prefers: the same in every process and release. Pure.

use std::{
    fmt,
    hash::{BuildHasher, BuildHasherDefault, Hash, Hasher},
};

use crate::quota::IdState;

/// Separates the hash of a secret from hashes that others make of it, such as for a log.
const DOMAIN: &[u8] = b"tower-429 session affinity";

/// FNV-1a of 64 bits: the hasher of the standard library may change with a release.
struct Fnv(u64);

/// A hash of a key's secret, by which sessions are spread over keys. It is never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct SecretHash(u64);

// === impl Fnv ===

impl Default for Fnv {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

// === impl SecretHash ===

impl SecretHash {
    pub(super) fn new(secret: &str) -> Self {
        let mut hasher = Fnv::default();
        hasher.write(DOMAIN);
        hasher.write(secret.as_bytes());
        Self(hasher.finish())
    }

    /// Of the keys that are not closed, a session prefers the one with the highest score (rendezvous hashing).
    pub(super) fn score(self, session: u64) -> u64 {
        // FNV alone leaves similar inputs with similar high bits.
        IdState::default().hash_one((session, self.0))
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

/// Returns the hash of a session's name.
pub(super) fn session_hash(name: impl Hash) -> u64 {
    BuildHasherDefault::<Fnv>::default().hash_one(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_do_not_change_between_releases() {
        // The values come from another implementation.
        let scores = ["sk-one", "sk-two"].map(|secret| SecretHash::new(secret).score(42));
        assert_eq!(scores, [0x8655_DF5F_4E28_9861, 0x66AE_9733_0FEE_1349]);
        assert_eq!(session_hash("conversation 42"), 0x6BCC_B9D0_6EEB_29AD);
    }

    #[test]
    fn sessions_spread_evenly_over_similar_keys() {
        let keys: Vec<_> = (0..8)
            .map(|number| SecretHash::new(&format!("sk-{number}")))
            .collect();
        let mut counts = [0; 8];
        for number in 0..8_000 {
            let session = session_hash(format!("conversation {number}"));
            let best = (0..8).max_by_key(|index| keys[*index].score(session));
            counts[best.expect("a key")] += 1;
        }
        // Six standard deviations of the binomial distribution.
        let is_even = |count: &i32| (820..1_180).contains(count);
        assert!(counts.iter().all(is_even), "{counts:?}");
    }

    #[test]
    fn hash_of_a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", SecretHash::new("sk-one")), "SecretHash(..)");
    }
}
