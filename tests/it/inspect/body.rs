//! A scripted response body that records how much of it was read.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    Fail(&'static str),
    /// Pending for a while.
    Pause(Duration),
    /// Pending once, and woken immediately.
    Yield,
}

/// How a body was used.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch(Arc<Done>);

#[derive(Debug, Default)]
struct Done {
    polls: AtomicUsize,
    bytes: AtomicUsize,
    last: AtomicUsize,
    dropped: AtomicBool,
}

pub(crate) struct Scripted {
    steps: Box<dyn Iterator<Item = Step> + Send>,
    next: Option<Step>,
    pause: Option<Pin<Box<Sleep>>>,
    /// How many bytes remain, if the length is known.
    left: Option<u64>,
    watch: Watch,
}

// === impl Watch ===

impl Watch {
    pub(crate) fn polls(&self) -> usize {
        self.0.polls.load(Ordering::SeqCst)
    }

    /// Returns how many bytes were read.
    pub(crate) fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::SeqCst)
    }

    /// Returns how many bytes were read before the last frame.
    pub(crate) fn bytes_before_last(&self) -> usize {
        self.bytes() - self.0.last.load(Ordering::SeqCst)
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.0.dropped.load(Ordering::SeqCst)
    }
}

// === impl Scripted ===

impl Scripted {
    /// Returns a body of unknown length.
    pub(crate) fn new<I>(steps: I) -> Self
    where
        I: IntoIterator<Item = Step>,
        I::IntoIter: Send + 'static,
    {
        let mut steps = Box::new(steps.into_iter());
        Self {
            next: steps.next(),
            steps,
            pause: None,
            left: None,
            watch: Watch::default(),
        }
    }

    pub(crate) fn of(text: impl Into<Bytes>) -> Self {
        Self::new([Step::Data(text.into())])
    }

    /// Returns a body with an exact `size_hint`, as with a `content-length`.
    pub(crate) fn of_known_length(steps: Vec<Step>) -> Self {
        let length = |step: &Step| match step {
            Step::Data(data) => data.len() as u64,
            _ => 0,
        };
        let left = steps.iter().map(length).sum();
        let mut body = Self::new(steps);
        body.left = Some(left);
        body
    }

    pub(crate) fn watch(&self) -> Watch {
        self.watch.clone()
    }
}

impl Body for Scripted {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        self.watch.0.polls.fetch_add(1, Ordering::SeqCst);
        loop {
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            let step = self.next.take();
            self.next = self.steps.next();
            return Poll::Ready(match step {
                None => None,
                Some(Step::Data(data)) => {
                    self.left = self.left.map(|left| left - data.len() as u64);
                    self.watch.0.bytes.fetch_add(data.len(), Ordering::SeqCst);
                    self.watch.0.last.store(data.len(), Ordering::SeqCst);
                    Some(Ok(Frame::data(data)))
                }
                Some(Step::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
                Some(Step::Fail(error)) => Some(Err(error)),
                Some(Step::Pause(pause)) => {
                    self.pause = Some(Box::pin(sleep(pause)));
                    continue;
                }
                Some(Step::Yield) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            });
        }
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none() && self.pause.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.watch.0.dropped.store(true, Ordering::SeqCst);
    }
}
