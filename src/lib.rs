// The README is also the crate's page on docs.rs, which does not serve the files that the README links by
// path. So these link definitions come first and win: they point to where docs.rs shows a crate's files.
// The pictures are hidden.
#![doc = "[gateway.toml]: https://docs.rs/crate/tower-429/latest/source/examples/gateway.toml"]
#![doc = "[benches]: https://docs.rs/crate/tower-429/latest/source/benches/README.md"]
#![doc = "[simulation]: https://docs.rs/crate/tower-429/latest/source/examples/simulation/README.md"]
#![doc = ""]
#![doc = include_str!("../README.md")]
#![doc = "<style>img[src^='docs/'] { display: none }</style>"]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod backoff;
mod call;
pub mod client;
mod clock;
pub mod fallback;
pub mod inspect;
mod jitter;
pub mod key_rotation;
mod quota;
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
pub use call::{Call, CostRequest, Priority};
pub use fallback::FallbackLayer;
pub use inspect::InspectLayer;
pub use key_rotation::{KeyPool, KeyRotationLayer};
pub use request::Cost;
