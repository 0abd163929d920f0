//! The lock: std's, or in the tests of this crate one that tries the orders in which threads may take it.

pub(super) use std::sync::PoisonError;
#[cfg(not(test))]
pub(super) use std::sync::{Mutex, MutexGuard};

#[cfg(test)]
pub(super) use shuttle::sync::{Mutex, MutexGuard};
