// The README is the crate's page, beside which the files that it names by path are not. So these links,
// which hold because they come before its own, lead to where docs.rs shows the files of a crate; and the
// pictures, which it does not serve, are left out.
#![doc = "[gateway.toml]: https://docs.rs/crate/tower-429/latest/source/examples/gateway/gateway.toml"]
#![doc = "[benches]: https://docs.rs/crate/tower-429/latest/source/benches/README.md"]
#![doc = ""]
#![doc = include_str!("../README.md")]
#![doc = "<style>img[src^='docs/'] { display: none }</style>"]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod attempt;
mod attempt_error;
pub mod backoff;
mod builder;
mod call;
pub mod client;
mod clock;
mod credentials;
pub mod fallback;
mod head;
pub mod inspect;
mod jitter;
pub mod key_rotation;
mod meter;
mod model;
mod origin;
mod quota;
mod redact;
pub mod rejection;
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
