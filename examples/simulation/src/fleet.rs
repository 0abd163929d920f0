//! Several processes that send with the same keys.

use tower_429::key_rotation::KeyPoolBuilder;

/// The number of processes, each with its own pool, and what they know of each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fleet {
    pub(crate) processes: u32,
    pub(crate) knows: Knows,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Knows {
    Nothing,
    /// The number of processes.
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

    /// Configures a pool with what its process knows.
    pub(crate) fn configure(self, pool: KeyPoolBuilder) -> KeyPoolBuilder {
        match self.knows {
            Knows::Nothing => pool,
            Knows::Count => pool.replicas(self.processes),
        }
    }
}
