use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{error::ReplayError, shared::Reader};

/// A request body that the layers can send any number of times.
///
/// It implements [`RequestBody`](super::RequestBody) for any `B`, so it is also the adapter for the body
/// types that do not implement the trait. Wrap the body outside the layers. hyper's client accepts a
/// `ReplayBody` unchanged.
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::{BodyExt, Full};
/// use tower_429::replay::ReplayBody;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let body = ReplayBody::new(Full::new(Bytes::from("text")));
/// assert_eq!(body.collect().await.unwrap().to_bytes(), "text");
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Pass a body that is not `Unpin` as `Box::pin(body)`, as for hyper's client.
///
/// # Clients with their own body type
///
/// A client that accepts only its own body type needs that type back inside the layers.
///
/// | the type is built from | as in | inside the layers |
/// |---|---|---|
/// | any body | octocrab | `MapRequestBodyLayer::new(OctoBody::new::<ReplayBody<OctoBody>>)` |
/// | bytes only | kube | read the body first, as below |
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Full};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_429::{BackoffLayer, replay::ReplayBody};
/// use tower_http::map_request_body::MapRequestBodyLayer;
///
/// type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// type Body = Full<Bytes>; // in place of `kube::client::Body`
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let client = service_fn(|request: Request<Body>| async {
///     Ok::<_, BoxError>(Response::new(request.into_body())) // an echo
/// });
/// let client = service_fn(move |request: Request<ReplayBody<Body>>| {
///     let client = client.clone();
///     async move {
///         let (head, body) = request.into_parts();
///         let bytes = body.collect().await?.to_bytes();
///         client.oneshot(Request::from_parts(head, Body::from(bytes))).await
///     }
/// });
/// let client = ServiceBuilder::new()
///     .layer(MapRequestBodyLayer::new(ReplayBody::new))
///     .layer(BackoffLayer::new())
///     .service(client);
///
/// let large = Request::new(Body::from(vec![b'x'; 3 * 1024 * 1024]));
/// let echo = client.oneshot(large).await?.into_body();
/// assert_eq!(echo.collect().await?.to_bytes().len(), 3 * 1024 * 1024);
/// # Ok::<(), BoxError>(())
/// # })?;
/// # Ok::<(), BoxError>(())
/// ```
///
/// A body in memory is not copied. A streaming body is in memory before it is sent, whatever its size.
///
/// # Errors
///
/// The error is the body's own, or [`ReplayError::Interrupted`] if a rejected attempt is cut short.
pub struct ReplayBody<B: Body> {
    pub(super) content: Content<B>,
}

pub(super) enum Content<B: Body> {
    /// Not recorded.
    Fresh(B),
    /// In memory: the bytes that were not sent yet.
    Memory(Bytes),
    /// Recorded while it streams.
    Shared(Reader<B>),
}

// === impl ReplayBody ===

impl<B: Body> ReplayBody<B> {
    /// Wraps a body that has not been read yet.
    pub fn new(body: B) -> Self {
        Self {
            content: Content::Fresh(body),
        }
    }

    /// Returns the bytes that were not sent yet, if the body is known to be in memory.
    ///
    /// `None` does not mean that the body is empty: it may stream, or no layer has read it yet. If the
    /// client's body type has a constructor for bytes, use it, so that the client still sees a body in
    /// memory.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http_body_util::Full;
    /// use tower_429::replay::ReplayBody;
    ///
    /// let text = Bytes::from("text");
    /// let unread = ReplayBody::new(Full::new(text.clone()));
    /// assert_eq!(unread.as_bytes(), None, "no layer has read it");
    /// let in_memory = ReplayBody::<Full<Bytes>>::from(text.clone());
    /// assert_eq!(in_memory.as_bytes(), Some(&text));
    /// ```
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match &self.content {
            Content::Memory(bytes) => Some(bytes),
            Content::Fresh(_) | Content::Shared(_) => None,
        }
    }

    /// Returns the wrapped body, if no layer has recorded it.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http_body_util::{BodyExt, Full};
    /// use tower_429::replay::ReplayBody;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// let recorded = ReplayBody::<Full<Bytes>>::from(Bytes::from("text"));
    /// for body in [ReplayBody::new(Full::from("text")), recorded] {
    ///     let body = match body.into_inner() {
    ///         Ok(body) => body,
    ///         Err(recorded) => Full::from(recorded.collect().await.unwrap().to_bytes()),
    ///     };
    ///     assert_eq!(body.collect().await.unwrap().to_bytes(), "text");
    /// }
    /// # });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns this body unchanged if a layer has recorded it. The three layers that retry always do.
    pub fn into_inner(self) -> Result<B, Self> {
        match self.content {
            Content::Fresh(body) => Ok(body),
            content => Err(Self { content }),
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> ReplayBody<B> {
    /// Returns all bytes that can be read without waiting, for bodies that never wait.
    pub(super) fn read_now(mut self) -> Bytes {
        if let Content::Memory(bytes) = self.content {
            return bytes;
        }
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut read: Vec<Bytes> = Vec::new();
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut self).poll_frame(&mut cx) {
            read.extend(frame.into_data().ok());
        }
        match read.as_slice() {
            [only] => only.clone(),
            chunks => chunks.concat().into(),
        }
    }
}

impl<B: Body> ReplayBody<B> {
    /// Marks the attempts before the one with this body as rejected.
    pub(crate) fn reject_older(&self) {
        if let Content::Shared(reader) = &self.content {
            reader.reject_older();
        }
    }

    /// Makes this body continue where it would end with [`ReplayError::Interrupted`], because the client's
    /// body type cannot hold that error.
    pub(super) fn set_infallible(&self) {
        if let Content::Shared(reader) = &self.content {
            reader.set_infallible();
        }
    }
}

impl<B: Body> From<Bytes> for ReplayBody<B> {
    fn from(bytes: Bytes) -> Self {
        Self {
            content: Content::Memory(bytes),
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for ReplayBody<B> {
    type Data = Bytes;
    type Error = ReplayError<B::Error>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut self.content {
            Content::Fresh(body) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(ReplayError::Body)))
            }
            Content::Memory(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Memory(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Content::Shared(reader) => Pin::new(reader).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Fresh(body) => body.is_end_stream(),
            Content::Memory(bytes) => bytes.is_empty(),
            Content::Shared(reader) => reader.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Fresh(body) => body.size_hint(),
            Content::Memory(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Shared(reader) => reader.size_hint(),
        }
    }
}

impl<B: Body> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The content is not printed, because it may be a confidential prompt.
        let kind = match &self.content {
            Content::Fresh(_) => "not recorded",
            Content::Memory(_) => "in memory",
            Content::Shared(_) => "streaming",
        };
        write!(f, "ReplayBody({kind})")
    }
}
