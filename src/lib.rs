#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod attempt;
pub mod backoff;
mod call;
mod clock;
pub mod refusal;
// Waiting for the whole body is for the layers that change it.
#[allow(dead_code)]
pub mod replay;
mod trace;
pub mod trail;
mod trigger;

pub use backoff::BackoffLayer;
pub use call::Call;
