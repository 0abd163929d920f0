//! What a request itself says about its key.

use std::sync::Arc;

/// Sends a request only with the key that has this label, as one extension of the request.
///
/// State at a provider belongs to one account: a response that `previous_response_id` names, an uploaded file,
/// a batch. The label is in the [`Trail`](crate::trail::Trail) of the response that created it.
///
/// ```
/// use http::{Request, Response};
/// use tower::{Layer, ServiceExt, service_fn};
/// use tower_429::{KeyPool, KeyRotationLayer, key_rotation::PinnedKey, trail::Trail};
///
/// # let mut runtime = tokio::runtime::Builder::new_current_thread();
/// # runtime.enable_time().start_paused(true).build()?.block_on(async {
/// let provider = service_fn(|request: Request<String>| async move {
///     let key = request.headers()["authorization"].to_str().unwrap_or_default();
///     Ok::<_, std::io::Error>(Response::new(key.to_owned()))
/// });
/// let pool = KeyPool::builder(["sk-one", "sk-two"]).round_robin().build()?;
/// let client = KeyRotationLayer::new(pool).layer(provider);
///
/// let first = client.clone().oneshot(Request::post("/v1/files").body(String::new())?).await?;
/// let trail = first.extensions().get::<Trail>().expect("the layer adds one");
/// let label = trail.attempts()[0].key.clone().expect("it was sent with a key");
///
/// let request = Request::get("/v1/files/1").extension(PinnedKey::new(label)).body(String::new())?;
/// let second = client.oneshot(request).await?;
/// assert_eq!(second.body(), first.body());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// No other key is used, whatever becomes of this one. If it is on cooldown, the call does what a call does if
/// every key is on cooldown: it waits, is sent anyway, or gets a 429. A rejection of its send is returned, unless
/// the call may wait. A [`Session`](super::Session) of the request does not count.
///
/// If a layer has several pools, that of the request's origin counts which has the label. If none has it, no key
/// is put on the request, which passes through unchanged, and the trail says
/// [`NoKeyForOrigin`](crate::trail::StopReason::NoKeyForOrigin) if the provider rejects it. A key that
/// [replaces](super::KeyPool::replace) the pinned one takes over its label and its calls.
///
/// A [fallback](crate::fallback) may send the request to another origin, where the state is not known. Use
/// [`Call::without_fallback`](crate::Call::without_fallback) against that.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PinnedKey(Arc<str>);

/// Leaves the caller's own credential on a request, as an extension of the request.
///
/// Key rotation passes the request through unchanged, and returns the response as it is. So a gateway can serve
/// callers that bring their own key beside those that use the pool.
///
/// ```
/// use http::{Request, Response};
/// use tower::{Layer, ServiceExt, service_fn};
/// use tower_429::{KeyPool, KeyRotationLayer, key_rotation::OwnKey};
///
/// # let mut runtime = tokio::runtime::Builder::new_current_thread();
/// # runtime.enable_time().start_paused(true).build()?.block_on(async {
/// let provider = service_fn(|request: Request<String>| async move {
///     let key = request.headers()["authorization"].to_str().unwrap_or_default();
///     Ok::<_, std::io::Error>(Response::new(key.to_owned()))
/// });
/// let client = KeyRotationLayer::new(KeyPool::new(["sk-pool"])?).layer(provider);
/// let request = Request::get("/v1/models")
///     .header("authorization", "Bearer sk-callers")
///     .extension(OwnKey)
///     .body(String::new())?;
/// assert_eq!(client.oneshot(request).await?.body(), "Bearer sk-callers");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// If a [fallback](crate::fallback) sends such a request to another origin, it has no credential there but the
/// target's own. With a [`PinnedKey`] on the same request, this one counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OwnKey;

// === impl PinnedKey ===

impl PinnedKey {
    /// Returns an extension for the key with this label.
    pub fn new(label: impl Into<Arc<str>>) -> Self {
        Self(label.into())
    }

    pub(super) fn label(&self) -> &Arc<str> {
        &self.0
    }
}
