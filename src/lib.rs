#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod allowance;
mod attempt;
pub mod backoff;
mod builder;
mod call;
pub mod client;
mod clock;
mod credentials;
pub mod fallback;
mod head;
pub mod inspect;
pub mod key_rotation;
mod meter;
mod model;
mod origin;
pub mod refusal;
pub mod replay;
pub mod telemetry;
mod trace;
pub mod trail;
mod trigger;

pub use backoff::BackoffLayer;
pub use builder::ServiceBuilderExt;
pub use call::Call;
pub use fallback::FallbackLayer;
pub use inspect::InspectLayer;
pub use key_rotation::{KeyPool, KeyRotationLayer};
