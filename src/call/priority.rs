/// Whether somebody waits for the response, in the extensions of a request.
///
/// A background call leaves a part of each limit to interactive calls, and waits behind all of them. So a
/// nightly batch can use the keys of a service whose users do not notice it. Requests without this extension
/// are interactive.
///
/// ```
/// use http::{Request, Response};
/// use tower::{Layer, ServiceExt, service_fn};
/// use tower_429::{BackoffLayer, Priority};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
/// # runtime.block_on(async {
/// # let provider = service_fn(|_: Request<String>| async {
/// #     Ok::<_, std::io::Error>(Response::new(String::new()))
/// # });
/// let client = BackoffLayer::new().layer(provider);
/// let request = Request::post("https://api.example/v1/chat/completions")
///     .extension(Priority::Background)
///     .body(String::from("{}"))?;
/// assert_eq!(client.oneshot(request).await?.status(), 200);
/// assert_eq!(Priority::default(), Priority::Interactive);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What is left to interactive calls
///
/// A tenth of each limit that is known by reports or by rejections, or more if interactive calls have lately
/// taken more. In a window it shrinks with the time that is left, so that little is unused at the end.
/// [`KeyPoolBuilder::background_reserve`](crate::key_rotation::KeyPoolBuilder::background_reserve) sets the
/// tenth for a pool.
///
/// Background calls are not starved: while some wait, one of 20 calls that the queue serves is of theirs. A
/// layer holds them only if calls may wait in it, such as by
/// [`wait_when_exhausted`](crate::KeyRotationLayer::wait_when_exhausted).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Priority {
    /// A user waits for the response.
    #[default]
    Interactive,
    /// The response may come later, as in a batch.
    Background,
}
