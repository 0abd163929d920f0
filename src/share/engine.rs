//! What processes share through.

use std::{error::Error, future::Future};

use super::message::{Hear, Say};

/// What several processes share through, such as a Redis, or [`InMemory`](super::InMemory) in one process.
///
/// An engine keeps facts and arbitrates leases. It decides nothing else, and knows limits only by their
/// [`Id`](super::Id). [`InMemory`](super::InMemory) shows what an engine does with an exchange:
///
/// 1. It ignores an exchange whose number is not greater than the last of its process.
/// 2. It merges the facts, and adds to [`used`](super::Grant::used) what the process has used since.
/// 3. It grants at most what is wanted, and at most the ceiling less what all have used and what the live processes
///    hold. A process gets a fair part of that, but what it needs at least; if that is not free, it gets nothing.
/// 4. It returns the facts that the process has not heard.
///
/// What a process holds is free again two seconds after its last exchange.
pub trait Engine: Send + 'static {
    /// Why an exchange failed.
    type Error: Error + Send + Sync + 'static;

    /// Says what this process knows and wants, and hears what the others know and what it gets.
    ///
    /// It is dropped after 100 ms without a result.
    fn exchange(&mut self, say: Say) -> impl Future<Output = Result<Hear, Self::Error>> + Send;
}
