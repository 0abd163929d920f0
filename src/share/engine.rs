//! The trait of an engine.

use std::{error::Error, future::Future};

use super::message::{ExchangeRequest, ExchangeResponse};

/// Connects several processes, such as through Redis, or through [`InMemory`](super::InMemory) in one process.
///
/// An engine stores facts and arbitrates leases. It decides nothing else, and knows limits only by their
/// [`Id`](super::Id). [`InMemory`](super::InMemory) shows how an engine serves an exchange:
///
/// 1. It ignores a request whose number is not greater than the last of its process.
/// 2. It merges the facts, and adds to [`used`](super::Grant::used) what the process has used since its last
///    request.
/// 3. It grants at most what is wanted, and at most the ceiling less what all have used and what the live processes
///    hold. A process gets a fair part of that, but what it needs at least; if that is not free, it gets nothing.
/// 4. It returns the facts that the process has not received.
///
/// The leases of a process are free two seconds after its last exchange.
pub trait Engine: Send + 'static {
    /// Why an exchange failed.
    type Error: Error + Send + Sync + 'static;

    /// Sends what this process knows and needs, and returns what the others know and what is granted.
    ///
    /// The future is dropped if it has not completed after 100 ms.
    fn exchange(
        &mut self,
        request: ExchangeRequest,
    ) -> impl Future<Output = Result<ExchangeResponse, Self::Error>> + Send;
}
