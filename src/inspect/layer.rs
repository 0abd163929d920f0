use std::time::Duration;

use tower::Layer;

use super::{Inspect, settings::InspectSettings};
use crate::rejection::{MAX_BODY_BYTES, Provider};

/// Parses the bodies of errors for the other layers; see the [module page](super).
///
/// | setting | default | why |
/// |---|---|---|
/// | [`limit`](Self::limit) | 64 KiB | the largest error bodies seen are a few KiB |
/// | [`max_wait`](Self::max_wait) | 1 s | an error body arrives with its head, or a moment later |
/// | [`first_event`](Self::first_event) | off | it delays the head of a stream until its first event |
/// | [`provider`](Self::provider) | guessed | from the host of the request and the headers of the response |
#[derive(Clone, Copy, Debug)]
pub struct InspectLayer {
    pub(super) settings: InspectSettings,
}

// === impl InspectLayer ===

impl InspectLayer {
    /// Returns a layer with the defaults.
    pub const fn new() -> Self {
        Self {
            settings: InspectSettings {
                limit: MAX_BODY_BYTES,
                max_wait: Duration::from_secs(1),
                first_event: None,
                provider: None,
            },
        }
    }

    /// Sets the most bytes of a body that are read. An error of more than 64 KiB is not parsed.
    #[must_use]
    pub const fn limit(mut self, bytes: usize) -> Self {
        self.settings.limit = bytes;
        self
    }

    /// Sets the longest wait for an error body. In a call with a [deadline](crate::Call::deadline) the wait is
    /// at most half of the time left.
    #[must_use]
    pub const fn max_wait(mut self, max_wait: Duration) -> Self {
        self.settings.max_wait = max_wait;
        self
    }

    /// Also reads the first event of a success, and holds its head back until that event arrives. The wait is
    /// at most `max_wait`, and in a call with a [deadline](crate::Call::deadline) at most half of the time
    /// left.
    ///
    /// The layer reads `text/event-stream` (without comments and pings) and Amazon's event stream. It reads
    /// JSON if the first key of its first object is `error`, `error_code`, `error_msg` or `base_resp`. It
    /// reads JSON of MiniMax and Baidu to its end, because their errors may stand behind other keys.
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
    /// assert_eq!(rejection.reason, Reason::Overloaded, "the layers around it retry");
    /// # Ok::<(), http::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn first_event(mut self, max_wait: Duration) -> Self {
        self.settings.first_event = Some(max_wait);
        self
    }

    /// Sets the provider whose conventions apply if a header alone is ambiguous.
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
