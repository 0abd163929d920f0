// The README is also the crate's page on docs.rs, which does not serve the files that the README links by
// path. So these link definitions come first and win: they point to the items of this crate, or to where
// docs.rs shows its files. The pictures are left out where the README has them, and come at the end.
#![doc = "[hyper_client]: https://docs.rs/crate/tower-429/latest/source/examples/hyper_client.rs"]
#![doc = "[axum_outbound]: https://docs.rs/crate/tower-429/latest/source/examples/axum_outbound.rs"]
#![doc = "[service]: https://docs.rs/crate/tower-429/latest/source/examples/service.rs"]
#![doc = "[batch]: https://docs.rs/crate/tower-429/latest/source/examples/batch.rs"]
#![doc = "[gateway]: https://docs.rs/crate/tower-429/latest/source/examples/gateway.toml"]
#![doc = "[simulation]: https://docs.rs/crate/tower-429/latest/source/docs/simulation.md"]
#![doc = "[benches]: https://docs.rs/crate/tower-429/latest/source/benches/README.md"]
#![doc = "[backoff]: crate::backoff"]
#![doc = "[beside]: crate::backoff#beside-a-pool-that-waits"]
#![doc = "[key_rotation]: crate::key_rotation"]
#![doc = "[fallback]: crate::fallback"]
#![doc = "[inspect]: crate::inspect"]
#![doc = "[rejection]: crate::rejection"]
#![doc = "[providers]: crate::rejection#what-a-provider-needs"]
#![doc = "[replay]: crate::replay"]
#![doc = "[client]: crate::client"]
#![doc = "[retry]: crate::retry"]
#![doc = "[orders]: crate::retry#the-order-of-the-layers"]
#![doc = "[compile]: crate::retry#when-it-does-not-compile"]
#![doc = "[compared]: crate::retry#compared-with"]
#![doc = "[pitfalls]: crate::pitfalls"]
#![doc = "[telemetry]: crate::telemetry"]
#![doc = "[trail]: crate::trail::Trail"]
#![doc = ""]
#![doc = include_str!("../README.md")]
#![doc = "<style>img[src^='docs/'] { display: none }</style>"]
#![doc = ""]
#![doc = "# The pictures"]
#![doc = ""]
#![doc = "The demo:"]
#![doc = ""]
#![doc = include_str!("../docs/demo.svg")]
#![doc = ""]
#![doc = "Four keys with 50 requests per 6 s each, in the simulation:"]
#![doc = ""]
#![doc = include_str!("../docs/simulation.svg")]
#![doc = ""]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod backoff;
mod call;
pub mod client;
mod clock;
pub mod fallback;
pub mod inspect;
mod jitter;
pub mod key_rotation;
pub mod pitfalls;
mod quota;
pub mod rejection;
pub mod replay;
mod request;
pub mod retry;
#[cfg(feature = "serde")]
mod serialize;
#[cfg(feature = "share")]
pub mod share;
pub mod telemetry;

/// The log of one request: an entry per attempt, with keys by label only.
///
/// It is on every response, as the extension [`Trail`](trail::Trail) (one line per attempt), and, for requests that fail, in the
/// [`Call`]. Inside a layer, several requests of one call can be in flight at once, as with
/// `tower::hedge`. Each has its own line, which says `in flight` or `given up` if there is no response. The closure
/// of [`on_attempt`](crate::BackoffLayer::on_attempt) gets each entry once a layer has decided about it.
///
/// ```
/// # use std::convert::Infallible;
/// # use http::{Request, Response};
/// # use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_429::{Call, KeyPool, KeyRotationLayer, trail::{Action, Trail}};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let client = service_fn(|request: Request<String>| async move {
/// #     let response = match request.headers()["authorization"].as_bytes() {
/// #         b"Bearer sk-two" => Response::builder(),
/// #         _ => Response::builder().status(429).header("retry-after", "20"),
/// #     };
/// #     Ok::<_, Infallible>(response.body(String::new()).expect("it is valid"))
/// # });
/// # let keys = KeyPool::new(["sk-one", "sk-two"])?;
/// # let client = ServiceBuilder::new().layer(KeyRotationLayer::new(keys)).service(client);
/// let call = Call::new();
/// let request = Request::post("https://api.example/v1/chat/completions")
///     .extension(call.clone())
///     .body(String::from("{}"))?;
/// let response = client.oneshot(request).await?;
///
/// let trail = response.extensions().get::<Trail>().ok_or("no layer was there")?;
/// let [first, second] = trail.attempts().try_into().map_err(|_| "there were two attempts")?;
/// assert_eq!((first.key.as_deref(), first.steps[0].action), (Some("key-1"), Action::NextKey));
/// assert_eq!((second.key.as_deref(), second.rejection), (Some("key-2"), None));
/// assert_eq!(call.trail().attempts().len(), 2);
/// # Ok(())
/// # }
/// ```
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
