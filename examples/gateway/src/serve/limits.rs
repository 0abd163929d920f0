//! Limits on the connections and the memory of all callers together.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::serve::Listener;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};

/// Accepts as many connections as may be open at once. Further connections wait in the system's queue.
pub(crate) struct LimitedListener {
    listener: TcpListener,
    free: Arc<Semaphore>,
}

/// The bytes that request bodies may take in memory.
pub(crate) struct Buffers {
    free: Arc<AtomicU64>,
}

/// A part of [`Buffers`], which is free again when this is dropped.
pub(crate) struct Reserved {
    free: Arc<AtomicU64>,
    bytes: u64,
}

/// A body up to this size is always admitted, because `max_connections` bounds the number of bodies.
const SMALL: u64 = 16 * 1024;

// === impl LimitedListener ===

impl LimitedListener {
    pub(crate) fn new(listener: TcpListener, connections: usize) -> Self {
        let connections = connections.min(Semaphore::MAX_PERMITS);
        Self {
            listener,
            free: Arc::new(Semaphore::new(connections)),
        }
    }
}

impl Listener for LimitedListener {
    type Io = TcpStream;
    /// The permit of the connection. It replaces the caller's address, which the gateway does not read.
    type Addr = Option<OwnedSemaphorePermit>;

    async fn accept(&mut self) -> (TcpStream, Self::Addr) {
        // The semaphore is never closed, so this does not fail.
        let permit = self.free.clone().acquire_owned().await.ok();
        let (stream, _) = Listener::accept(&mut self.listener).await;
        (stream, permit)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(None)
    }
}

// === impl Buffers ===

impl Buffers {
    pub(crate) fn new(bytes: u64) -> Self {
        Self {
            free: Arc::new(AtomicU64::new(bytes)),
        }
    }

    /// Reserves memory for a body. Returns `None` while other bodies take too much.
    pub(crate) fn reserve(&self, bytes: u64) -> Option<Reserved> {
        let bytes = if bytes <= SMALL { 0 } else { bytes };
        let take = |free: u64| free.checked_sub(bytes);
        self.free
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, take)
            .ok()?;
        Some(Reserved {
            free: self.free.clone(),
            bytes,
        })
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.free.fetch_add(self.bytes, Ordering::AcqRel);
    }
}
