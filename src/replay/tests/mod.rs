//! Recordings of a body whose frames the test provides.

mod bounds;
mod rejected;
mod replaying;
mod sharing;

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake, Waker},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::{NotReplayable, Recording, ReplayBody, ReplayError};

type Item = Result<Frame<Bytes>, &'static str>;

/// A body whose frames the test provides one at a time.
#[derive(Clone, Default)]
struct Fed(Arc<Mutex<Feed>>);

#[derive(Default)]
struct Feed {
    items: VecDeque<Item>,
    ended: bool,
    waker: Option<Waker>,
    length: Option<u64>,
}

impl Fed {
    fn of_length(length: u64) -> Self {
        let fed = Self::default();
        fed.0.lock().unwrap().length = Some(length);
        fed
    }

    fn feed(&self, item: Item) {
        let mut feed = self.0.lock().unwrap();
        feed.items.push_back(item);
        if let Some(waker) = feed.waker.take() {
            waker.wake();
        }
    }

    fn chunk(&self, chunk: &'static str) {
        self.feed(Ok(Frame::data(Bytes::from(chunk))));
    }

    fn end(&self) {
        let mut feed = self.0.lock().unwrap();
        feed.ended = true;
        if let Some(waker) = feed.waker.take() {
            waker.wake();
        }
    }

    fn is_held(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl Body for Fed {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        let mut feed = self.0.lock().unwrap();
        match feed.items.pop_front() {
            Some(item) => {
                if let (Some(left), Ok(frame)) = (feed.length, &item) {
                    let read = frame.data_ref().map_or(0, Bytes::len) as u64;
                    feed.length = Some(left - read);
                }
                Poll::Ready(Some(item))
            }
            None if feed.ended => Poll::Ready(None),
            None => {
                feed.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.0
            .lock()
            .unwrap()
            .length
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Records a body as the only layer.
fn record<B: Body<Data = Bytes> + Unpin>(body: ReplayBody<B>, limit: u64) -> Recording<B> {
    Recording::new(body, limit, &mut None)
}

#[derive(Default)]
struct Woken(Mutex<bool>);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        *self.0.lock().unwrap() = true;
    }
}

impl Woken {
    fn take(&self) -> bool {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn poll<B: Body<Data = Bytes> + Unpin>(
    body: &mut B,
    woken: &Arc<Woken>,
) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
    Pin::new(body).poll_frame(&mut Context::from_waker(&Waker::from(woken.clone())))
}

/// Reads until the body ends or is pending. Returns the text and the last poll.
fn read<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> (String, Poll<Option<B::Error>>) {
    let mut text = String::new();
    loop {
        match poll(body, &Arc::default()) {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(chunk) => text.push_str(std::str::from_utf8(&chunk).unwrap()),
                Err(frame) => text.push_str(&format!("{:?}", frame.into_trailers().unwrap())),
            },
            Poll::Ready(Some(Err(error))) => return (text, Poll::Ready(Some(error))),
            Poll::Ready(None) => return (text, Poll::Ready(None)),
            Poll::Pending => return (text, Poll::Pending),
        }
    }
}

type End = Poll<Option<ReplayError<&'static str>>>;

const END: End = Poll::Ready(None);
const BROKEN: End = Poll::Ready(Some(ReplayError::Body("broken")));
const INTERRUPTED: End = Poll::Ready(Some(ReplayError::Interrupted));

fn whole<B: Body<Data = Bytes> + Unpin>(recording: &Recording<B>) -> Poll<Option<Bytes>> {
    recording.poll_whole(&mut Context::from_waker(Waker::noop()))
}
