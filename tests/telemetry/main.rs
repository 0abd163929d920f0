//! Spans, events and metrics. They are a binary of their own, because host labels are bounded per process.

#![cfg(feature = "metrics")]
#![allow(clippy::disallowed_methods)] // A test may read a paused clock.

#[cfg(feature = "tracing")]
mod calls;
mod elsewhere;
#[cfg(feature = "tracing")]
mod notices;
#[path = "../it/script.rs"]
mod script;
#[cfg(feature = "tracing")]
mod share;
#[cfg(feature = "tracing")]
#[path = "../it/subscriber.rs"]
mod subscriber;
