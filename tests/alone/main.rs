//! Tests about what a whole process has: its heap, and its host labels.

mod hosts;
mod memory;
#[path = "../it/script.rs"]
mod script;
#[path = "../it/sockets.rs"]
mod sockets;
