//! A streaming body, recorded while it is read, that any number of readers may follow.
//!
//! The newest reader alone pulls from the source, so what is recorded is what it has read, a frame
//! of error reaches the attempt that matters, and one bound is enough. Older readers follow what is
//! recorded, so an upload of a refused attempt ends by itself and its connection survives. So does one
//! while the next attempt waits: until the newest reader is read from, the one before pulls in its
//! stead, but leaves the error, and what is over the bound, to it.
//!
//! A reader of a rejected attempt ends with an error where the body outgrows the bound, where the source
//! fails, and where the call ends before the upload does. The error frees its stream or connection.
//!
//! Some bodies have no error that could be made, such as those that fail with `Infallible`. A reader
//! in one of these goes on with the upload: what is over the bound is a window, of at most the bound,
//! of the chunks that it has yet to read.

mod read;
mod reader;
mod state;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
pub(super) use reader::Reader;

use super::Ending;

/// The most chunks that are kept: each has a price of its own, however short it is.
const MOST_CHUNKS: usize = 64 * 1024;

pub(super) struct Tape<B: Body> {
    state: Mutex<State<B>>,
}

struct State<B: Body> {
    source: Source<B, B::Error>,
    /// All, or since the tape overflowed those that some reader has yet to read.
    chunks: VecDeque<Bytes>,
    /// How many chunks came before these.
    let_go: usize,
    /// Bytes of these chunks.
    kept: u64,
    /// Bytes of all chunks.
    recorded: u64,
    trailers: Option<HeaderMap>,
    /// Pulled, but to be recorded or not by a reader that has not begun.
    ahead: Option<Frame<Bytes>>,
    limit: u64,
    /// The body is larger than the limit, so chunks that all readers have read are let go.
    overflowed: bool,
    /// How often the leader has given way since a follower last moved.
    gave_way: u32,
    /// In order of age, the newest last.
    readers: Vec<Seat>,
    next_seat: u64,
    /// Whoever waits for the whole body.
    gatherer: Option<Waker>,
    /// Recordings that may still ask for readers; stacked layers share one tape.
    recordings: usize,
    ending: Ending,
}

enum Source<B, E> {
    Open(B),
    Ended,
    /// The error waits for the newest reader; `None` once it was read, or if the source was dropped.
    Failed(Option<E>),
}

/// A reader's place at the tape.
struct Seat {
    id: u64,
    /// It was read from.
    has_begun: bool,
    waker: Option<Waker>,
    /// Chunks read.
    position: usize,
    /// Bytes read.
    bytes: u64,
    trailers_read: bool,
    /// What it had not read yet is gone.
    cut_off: bool,
    /// The request was sent again, or will be.
    rejected: bool,
    /// The client can be given an error.
    can_fail: bool,
}

/// Why a tape cannot be played in full once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Overflowed,
    Failed,
}

enum Pulled {
    Frame(Frame<Bytes>),
    End,
    /// The error is on the tape.
    Failed,
}

// === impl Tape ===

impl<B: Body<Data = Bytes> + Unpin> Tape<B> {
    /// A tape of `source`, of which `first` has been read already.
    pub(super) fn new(
        source: B,
        first: Option<Frame<Bytes>>,
        failed: Option<B::Error>,
        limit: u64,
        ending: Ending,
    ) -> Arc<Self> {
        let mut state = State {
            source: match failed {
                None => Source::Open(source),
                failed => Source::Failed(failed),
            },
            chunks: VecDeque::new(),
            let_go: 0,
            kept: 0,
            recorded: 0,
            trailers: None,
            ahead: None,
            limit,
            overflowed: false,
            gave_way: 0,
            readers: Vec::new(),
            next_seat: 0,
            gatherer: None,
            recordings: 1,
            ending,
        };
        if let Some(frame) = first {
            state.record(frame);
        }
        Arc::new(Self {
            state: Mutex::new(state),
        })
    }

    /// Polls until the whole body is recorded; an error stays on the tape for the next reader.
    pub(super) fn poll_whole(&self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Broken>> {
        let mut state = self.lock();
        loop {
            if let Some(broken) = state.broken() {
                return Poll::Ready(Err(broken));
            }
            match state.pull(cx) {
                Poll::Ready(Pulled::Frame(frame)) => state.record(frame),
                Poll::Ready(Pulled::End) => {
                    let (whole, wakers) = (state.concatenate(), state.take_wakers());
                    drop(state);
                    wake(wakers);
                    return Poll::Ready(Ok(whole));
                }
                Poll::Ready(Pulled::Failed) => {}
                Poll::Pending => {
                    state.gatherer = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
            let wakers = state.take_wakers();
            drop(state);
            wake(wakers);
            state = self.lock();
        }
    }
}

impl<B: Body> Tape<B> {
    fn lock(&self) -> MutexGuard<'_, State<B>> {
        // A body that panicked while it was polled leaves chunks that are still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place at the tape; from now on this reader alone pulls from the source.
    pub(super) fn reader(self: &Arc<Self>) -> Reader<B> {
        Reader {
            id: self.lock().seat(),
            tape: Arc::clone(self),
        }
    }

    /// As [`reader`](Self::reader), if the tape can be played in full; a reader elsewhere may break it
    /// at any moment, so nobody can ask first and take the place then.
    pub(super) fn reader_of_all(self: &Arc<Self>) -> Option<Reader<B>> {
        let mut state = self.lock();
        let id = match state.broken() {
            Some(_) => return None,
            None => state.seat(),
        };
        drop(state);
        Some(Reader {
            tape: Arc::clone(self),
            id,
        })
    }

    /// One recording less that may ask for readers.
    pub(super) fn stop_recording(&self) {
        let mut state = self.lock();
        state.recordings = state.recordings.saturating_sub(1);
        let (wakers, source) = (state.take_wakers(), state.take_abandoned());
        drop(state);
        drop(source);
        wake(wakers);
    }

    pub(super) fn broken(&self) -> Option<Broken> {
        self.lock().broken()
    }

    pub(super) fn has_trailers(&self) -> bool {
        self.lock().trailers.is_some()
    }
}

fn wake(wakers: Vec<Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}
