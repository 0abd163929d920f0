//! Tests about what a whole process has: its heap, and its host labels.

mod hosts;
mod memory;
#[path = "../it/script.rs"]
mod script;
#[path = "../it/sockets.rs"]
mod sockets;

/// Held by each test here, because the other one's memory would count as its own.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
