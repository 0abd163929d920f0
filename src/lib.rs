// The README is the crate's page, beside which the files that it names by path are not. So these links,
// which hold because they come before its own, lead to where docs.rs shows the files of a crate; and the
// pictures, which it does not serve, are left out.
#![doc = "[gateway.toml]: https://docs.rs/crate/tower-429/latest/source/examples/gateway.toml"]
#![doc = "[benches]: https://docs.rs/crate/tower-429/latest/source/benches/README.md"]
#![doc = ""]
#![doc = include_str!("../README.md")]
#![doc = "<style>img[src^='docs/'] { display: none }</style>"]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod allowance;
pub mod backoff;
mod call;
pub mod client;
mod clock;
pub mod fallback;
pub mod inspect;
mod jitter;
pub mod key_rotation;
pub mod rejection;
pub mod replay;
mod request;
pub mod retry;
pub mod telemetry;

/// The log of one request: an entry per attempt, with keys by label only.
pub mod trail {
    pub use crate::call::{
        Action, Attempt, AttemptError, LayerKind, Progress, Step, StopReason, Trail,
    };
}

pub use backoff::BackoffLayer;
pub use call::Call;
pub use fallback::FallbackLayer;
pub use inspect::InspectLayer;
pub use key_rotation::{KeyPool, KeyRotationLayer};
