//! Several processes that send with the same keys.

use tower_429::key_rotation::KeyPoolBuilder;

/// How many processes there are, each with a pool of its own, and what these know of each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fleet {
    pub(crate) processes: u32,
    pub(crate) knows: Knows,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Knows {
    Nothing,
    /// How many processes there are.
    Count,
}

// === impl Fleet ===

impl Fleet {
    pub(crate) const ONE: Self = Self {
        processes: 1,
        knows: Knows::Nothing,
    };

    pub(crate) fn processes(self) -> u32 {
        self.processes
    }

    /// Tells a pool what it may know.
    pub(crate) fn tell(self, pool: KeyPoolBuilder) -> KeyPoolBuilder {
        match self.knows {
            Knows::Nothing => pool,
            Knows::Count => pool.replicas(self.processes),
        }
    }
}
