use tower::{ServiceBuilder, layer::util::Stack};

use crate::{
    BackoffLayer, FallbackLayer, InspectLayer, KeyPool, KeyRotationLayer, fallback::Target,
};

/// The layers as methods of tower's [`ServiceBuilder`], each with its defaults.
///
/// ```
/// use std::convert::Infallible;
/// use http::{Request, Response};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_429::{KeyPool, ServiceBuilderExt as _};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let provider = service_fn(|request: Request<String>| async move {
///     let response = match request.headers()["authorization"].as_bytes() {
///         b"Bearer sk-two" => Response::builder(),
///         _ => Response::builder().status(429).header("retry-after", "20"),
///     };
///     Ok::<_, Infallible>(response.body(String::new()).expect("it is valid"))
/// });
/// let client = ServiceBuilder::new()
///     .fall_back_to(["gpt-4o-mini"])
///     .backoff()
///     .rotate_keys(KeyPool::new(["sk-one", "sk-two"])?)
///     .service(provider);
///
/// let request = Request::post("https://api.example/v1/chat/completions").body(String::from("{}"))?;
/// assert_eq!(client.oneshot(request).await?.status(), 200);
/// # Ok(())
/// # }
/// ```
///
/// A layer of which something is to be said is written out, as `.layer(BackoffLayer::new().attempts(3))`.
/// Import the trait `as _`, for tower-http's has the same name.
pub trait ServiceBuilderExt<L>: sealed::Sealed<L> + Sized {
    /// Asks these models, in this order, when the request's own is limited: [`FallbackLayer::new`].
    fn fall_back_to<T: Into<Target>>(
        self,
        targets: impl IntoIterator<Item = T>,
    ) -> ServiceBuilder<Stack<FallbackLayer, L>>;

    /// Waits and asks again: [`BackoffLayer::new`].
    fn backoff(self) -> ServiceBuilder<Stack<BackoffLayer, L>>;

    /// Puts keys on requests, and asks again with another one: [`KeyRotationLayer::new`].
    fn rotate_keys(self, pool: KeyPool) -> ServiceBuilder<Stack<KeyRotationLayer, L>>;

    /// Reads what a rejection says in its body, for the layers before this one: [`InspectLayer::new`].
    fn inspect_limits(self) -> ServiceBuilder<Stack<InspectLayer, L>>;
}

mod sealed {
    pub trait Sealed<L> {}
    impl<L> Sealed<L> for tower::ServiceBuilder<L> {}
}

impl<L> ServiceBuilderExt<L> for ServiceBuilder<L> {
    fn fall_back_to<T: Into<Target>>(
        self,
        targets: impl IntoIterator<Item = T>,
    ) -> ServiceBuilder<Stack<FallbackLayer, L>> {
        self.layer(FallbackLayer::new(targets))
    }

    fn backoff(self) -> ServiceBuilder<Stack<BackoffLayer, L>> {
        self.layer(BackoffLayer::new())
    }

    fn rotate_keys(self, pool: KeyPool) -> ServiceBuilder<Stack<KeyRotationLayer, L>> {
        self.layer(KeyRotationLayer::new(pool))
    }

    fn inspect_limits(self) -> ServiceBuilder<Stack<InspectLayer, L>> {
        self.layer(InspectLayer::new())
    }
}
