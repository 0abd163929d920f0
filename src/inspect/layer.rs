use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use tower::Layer;

use super::Inspect;
use crate::{content_coding, rejection::Provider};

/// Reads what a rejection says in its body; see the [module page](super).
///
/// | setting | default | why |
/// |---|---|---|
/// | [`limit`](Self::limit) | 64 KiB | the largest error bodies seen are a few KiB |
/// | [`max_wait`](Self::max_wait) | 1 s | an error body comes with its head, or a moment after |
/// | [`first_event`](Self::first_event) | off | the head of a stream then waits for its first event |
/// | [`provider`](Self::provider) | guessed | from the host of the request and the headers of the response |
#[derive(Clone, Copy, Debug)]
pub struct InspectLayer {
    pub(super) settings: Settings,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) limit: usize,
    pub(super) max_wait: Duration,
    pub(super) first_event: Option<Duration>,
    pub(super) provider: Option<Provider>,
}

// === impl InspectLayer ===

impl InspectLayer {
    /// A layer with the defaults.
    pub const fn new() -> Self {
        Self {
            settings: Settings {
                limit: 64 * 1024,
                max_wait: Duration::from_secs(1),
                first_event: None,
                provider: None,
            },
        }
    }

    /// The most bytes of a body that are read; an error in more than 64 KiB is not understood.
    #[must_use]
    pub const fn limit(mut self, bytes: usize) -> Self {
        self.settings.limit = bytes;
        self
    }

    /// The longest that an error body is waited for; in a call with a
    /// [deadline](crate::Call::deadline) at most half of what is left.
    #[must_use]
    pub const fn max_wait(mut self, max_wait: Duration) -> Self {
        self.settings.max_wait = max_wait;
        self
    }

    /// Looks at the first event of a success too, and holds its head back until it is there, at most
    /// for `max_wait`, or in a call with a [deadline](crate::Call::deadline) half of what is left.
    ///
    /// Read are `text/event-stream` (comments and pings are skipped), Amazon's event stream, and JSON
    /// that begins with an object whose first key is `error`, `error_code`, `error_msg` or `base_resp`.
    /// JSON of MiniMax and Baidu is read to its end, because their errors may stand behind other keys.
    ///
    /// ```
    /// use std::time::Duration;
    /// use http::Response;
    /// use tower::{ServiceBuilder, ServiceExt, service_fn};
    /// use tower_429::{InspectLayer, rejection::{Reason, Rejection}};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let provider = service_fn(|_: http::Request<String>| async {
    ///     let stream = "event: error\n\
    ///         data: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n";
    ///     Response::builder().header("content-type", "text/event-stream").body(String::from(stream))
    /// });
    /// let layer = InspectLayer::new().first_event(Duration::from_secs(30));
    /// let client = ServiceBuilder::new().layer(layer).service(provider);
    /// let response = client.oneshot(http::Request::default()).await?;
    /// assert_eq!(response.status(), 200);
    /// let rejection = response.extensions().get::<Rejection>().unwrap();
    /// assert_eq!(rejection.reason, Reason::Overloaded, "the layers around it ask again");
    /// # Ok::<(), http::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn first_event(mut self, max_wait: Duration) -> Self {
        self.settings.first_event = Some(max_wait);
        self
    }

    /// Whose reading applies where a header alone is ambiguous.
    #[must_use]
    pub const fn provider(mut self, provider: Provider) -> Self {
        self.settings.provider = Some(provider);
        self
    }
}

impl Default for InspectLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for InspectLayer {
    type Service = Inspect<S>;

    fn layer(&self, inner: S) -> Inspect<S> {
        Inspect {
            inner,
            settings: self.settings,
        }
    }
}

/// Whether the body of such a response is worth reading: an error, in JSON, XML or text.
pub(super) fn is_readable_error(status: StatusCode, headers: &HeaderMap) -> bool {
    let is_error = status.is_client_error() || status.is_server_error();
    // `application/problem+json`, Amazon's `application/x-amz-json-1.1` and `application/xml`
    let text =
        |kind: String| kind.starts_with("text/") || kind.contains("json") || kind.contains("xml");
    is_error && content_coding::is_identity(headers) && essence(headers).is_none_or(text)
}

/// The media type without its parameters, in lower case; `None` if there is none.
pub(super) fn essence(headers: &HeaderMap) -> Option<String> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = kind.split(';').next().unwrap_or_default();
    Some(essence.trim().to_ascii_lowercase())
}
