//! Spans, events and metrics. A process of their own, because host labels are bounded per process.

#![cfg(feature = "metrics")]
#![allow(clippy::disallowed_methods)] // Under a paused clock a test may read it.

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
