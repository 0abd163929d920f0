use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake, Waker},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::{NotReplayable, Recording, ReplayBody};

type Item = Result<Frame<Bytes>, &'static str>;

/// A body whose frames the test hands in, one at a time.
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

/// Everything that comes without waiting, and how it stopped.
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

const END: Poll<Option<&'static str>> = Poll::Ready(None);

#[test]
fn a_body_in_memory_is_replayed_without_a_copy() {
    let bytes = Bytes::from(vec![b'x'; 64]);
    let at = bytes.as_ptr();
    let mut recording = Recording::new(ReplayBody::new(http_body_util::Full::new(bytes)), 64);
    assert!(recording.in_memory());
    for _ in 0..3 {
        let replay = recording.reader().unwrap();
        assert_eq!(replay.size_hint().exact(), Some(64));
        assert_eq!(replay.as_bytes().unwrap().as_ptr(), at);
    }
    assert_eq!(recording.not_replayable(), None);
}

#[test]
fn a_second_reader_plays_the_recording_and_reads_on() {
    let fed = Fed::of_length(6);
    let mut recording = Recording::new(ReplayBody::new(fed.clone()), 100);
    let mut first = recording.reader().unwrap();
    assert_eq!(first.size_hint().exact(), Some(6));
    fed.chunk("ab");
    assert_eq!(read(&mut first), ("ab".into(), Poll::Pending));
    assert_eq!(first.size_hint().exact(), Some(4));

    let mut second = recording.reader().unwrap();
    assert_eq!(second.size_hint().exact(), Some(6));
    assert_eq!(read(&mut second), ("ab".into(), Poll::Pending));
    fed.chunk("cd");
    fed.chunk("ef");
    fed.end();
    assert_eq!(
        read(&mut first),
        (String::new(), Poll::Pending),
        "an older reader only follows"
    );
    assert_eq!(read(&mut second), ("cdef".into(), END));
    assert_eq!(read(&mut first), ("cdef".into(), END));
    assert!(first.is_end_stream() && second.is_end_stream());

    let mut third = recording.reader().unwrap();
    assert_eq!(read(&mut third), ("abcdef".into(), END));
}

#[test]
fn every_reader_is_woken_by_what_it_waits_for() {
    let fed = Fed::default();
    let mut recording = Recording::new(ReplayBody::new(fed.clone()), 100);
    let (old, new) = (Arc::<Woken>::default(), Arc::<Woken>::default());
    let mut first = recording.reader().unwrap();
    assert!(poll(&mut first, &old).is_pending());
    let mut second = recording.reader().unwrap();
    assert!(poll(&mut second, &new).is_pending());
    fed.chunk("a");
    assert!(new.take() && !old.take());
    assert!(poll(&mut second, &new).is_ready());
    assert!(old.take(), "the follower hears of the chunk");
    assert!(poll(&mut first, &old).is_ready());
    assert!(poll(&mut first, &old).is_pending());
    drop(second);
    assert!(old.take(), "the follower leads now");
    assert!(poll(&mut first, &old).is_pending());
    fed.end();
    assert!(old.take());
    assert_eq!(read(&mut first), (String::new(), END));
}

#[test]
fn trailers_are_played_again() {
    let fed = Fed::default();
    let mut trailers = HeaderMap::new();
    trailers.insert("checksum", "7".parse().unwrap());
    fed.chunk("a");
    fed.feed(Ok(Frame::trailers(trailers)));
    fed.end();
    let mut recording = Recording::new(ReplayBody::new(fed), 100);
    for _ in 0..2 {
        let mut reader = recording.reader().unwrap();
        assert_eq!(read(&mut reader), ("a{\"checksum\": \"7\"}".into(), END));
        assert!(reader.is_end_stream());
    }
}

#[test]
fn a_reader_that_follows_is_woken_by_trailers_too() {
    let fed = Fed::default();
    let mut recording = Recording::new(ReplayBody::new(fed.clone()), 100);
    let mut old = recording.reader().unwrap();
    let mut new = recording.reader().unwrap();
    let woken = Arc::<Woken>::default();
    assert!(poll(&mut old, &woken).is_pending());
    fed.feed(Ok(Frame::trailers(HeaderMap::new())));
    // A client does not ask for more after these.
    assert!(poll(&mut new, &Arc::default()).is_ready());
    assert!(woken.take());
    assert!(poll(&mut old, &woken).is_ready());
}

#[test]
fn a_body_in_very_many_pieces_is_not_kept_however_short_they_are() {
    for whole_first in [false, true] {
        let fed = Fed::default();
        let mut recording = Recording::new(ReplayBody::new(fed.clone()), u64::MAX);
        let mut reader = recording.reader().unwrap();
        for _ in 0..=64 * 1024 {
            assert_eq!(recording.not_replayable(), None);
            fed.chunk("a");
            if !whole_first {
                assert!(poll(&mut reader, &Arc::default()).is_ready());
            }
        }
        if whole_first {
            assert_eq!(whole(&recording), Poll::Ready(None));
        }
        fed.end();
        assert_eq!(recording.not_replayable(), Some(NotReplayable::TooLarge));
        let (rest, end) = read(&mut reader);
        assert_eq!(end, END);
        assert_eq!(rest.len(), if whole_first { 64 * 1024 + 1 } else { 0 });
    }
}

#[test]
fn a_body_known_to_be_larger_than_the_bound_is_sent_once() {
    let mut recording = Recording::new(ReplayBody::new(Fed::of_length(11)), 10);
    assert_eq!(recording.not_replayable(), Some(NotReplayable::TooLarge));
    assert!(recording.reader().is_some());
    assert!(recording.reader().is_none());
}

#[test]
fn a_body_found_larger_than_the_bound_streams_on_and_is_not_kept() {
    let fed = Fed::default();
    let mut recording = Recording::new(ReplayBody::new(fed.clone()), 4);
    let mut first = recording.reader().unwrap();
    fed.chunk("abcd");
    assert_eq!(read(&mut first), ("abcd".into(), Poll::Pending));
    assert_eq!(recording.not_replayable(), None);
    fed.chunk("e");
    assert_eq!(read(&mut first), ("e".into(), Poll::Pending));
    assert_eq!(recording.not_replayable(), Some(NotReplayable::TooLarge));
    assert!(recording.reader().is_none(), "it would wait for ever");
    fed.chunk("f");
    fed.end();
    assert_eq!(read(&mut first), ("f".into(), END));
    assert!(first.is_end_stream());
}

#[test]
fn an_error_reaches_the_newest_reader_and_ends_the_replays() {
    let fed = Fed::default();
    let mut recording = Recording::new(ReplayBody::new(fed.clone()), 100);
    let mut old = recording.reader().unwrap();
    fed.chunk("a");
    assert_eq!(read(&mut old), ("a".into(), Poll::Pending));
    let mut new = recording.reader().unwrap();
    fed.feed(Err("broken"));
    assert_eq!(read(&mut old), (String::new(), Poll::Pending));
    assert_eq!(read(&mut new), ("a".into(), Poll::Ready(Some("broken"))));
    assert_eq!(
        read(&mut old),
        (String::new(), Poll::Pending),
        "never passed off as complete"
    );
    assert_eq!(recording.not_replayable(), Some(NotReplayable::BodyFailed));
    assert!(
        recording.reader().is_none(),
        "it would end where the body failed"
    );
}

#[test]
fn an_error_before_the_first_send_is_not_lost() {
    let fed = Fed::default();
    fed.feed(Err("broken"));
    let mut recording = Recording::new(ReplayBody::new(fed), 100);
    let mut reader = recording.reader().unwrap();
    assert_eq!(
        read(&mut reader),
        (String::new(), Poll::Ready(Some("broken")))
    );
}

fn whole<B: Body<Data = Bytes> + Unpin>(recording: &Recording<B>) -> Poll<Option<Bytes>> {
    recording.poll_whole(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn the_whole_body_can_be_waited_for_and_still_be_played() {
    let fed = Fed::default();
    let mut recording = Recording::new(ReplayBody::new(fed.clone()), 100);
    let mut first = recording.reader().unwrap();
    fed.chunk("ab");
    assert!(whole(&recording).is_pending());
    fed.chunk("c");
    fed.end();
    assert_eq!(whole(&recording), Poll::Ready(Some(Bytes::from("abc"))));
    assert_eq!(read(&mut first), ("abc".into(), END));
    assert_eq!(read(&mut recording.reader().unwrap()), ("abc".into(), END));
}

#[test]
fn a_body_too_large_to_be_had_whole_is_still_sent_once() {
    let fed = Fed::default();
    let mut recording = Recording::new(ReplayBody::new(fed.clone()), 4);
    fed.chunk("abc");
    fed.chunk("def");
    assert_eq!(whole(&recording), Poll::Ready(None));
    let mut reader = recording.reader().unwrap();
    fed.chunk("g");
    fed.end();
    assert_eq!(read(&mut reader), ("abcdefg".into(), END));
    assert_eq!(recording.not_replayable(), Some(NotReplayable::TooLarge));
}

#[test]
fn an_error_met_while_waiting_for_the_whole_stays_for_the_next_reader() {
    let fed = Fed::default();
    let mut recording = Recording::new(ReplayBody::new(fed.clone()), 100);
    fed.chunk("a");
    fed.feed(Err("broken"));
    assert_eq!(whole(&recording), Poll::Ready(None));
    assert_eq!(recording.not_replayable(), Some(NotReplayable::BodyFailed));
    let mut reader = recording.reader().unwrap();
    assert_eq!(read(&mut reader), ("a".into(), Poll::Ready(Some("broken"))));
}

#[test]
fn three_layers_share_one_recording() {
    let fed = Fed::default();
    let mut outer = Recording::new(ReplayBody::new(fed.clone()), 100);
    let mut inner = Recording::new(outer.reader().unwrap(), 100);
    fed.chunk("ab");
    let mut first = inner.reader().unwrap();
    assert_eq!(read(&mut first), ("ab".into(), Poll::Pending));
    drop(first);
    drop(inner);
    fed.chunk("c");
    fed.end();
    assert_eq!(read(&mut outer.reader().unwrap()), ("abc".into(), END));
}

#[test]
fn a_layer_further_in_takes_over_the_lead_with_the_recording() {
    let fed = Fed::default();
    let mut outer = Recording::new(ReplayBody::new(fed.clone()), 2);
    let mut refused = outer.reader().unwrap();
    fed.chunk("ab");
    assert_eq!(read(&mut refused), ("ab".into(), Poll::Pending));
    let mut inner = Recording::new(outer.reader().unwrap(), 2);
    fed.chunk("c");
    fed.end();
    assert_eq!(
        read(&mut refused),
        (String::new(), Poll::Pending),
        "it would outgrow the bound before the inner layer has sent anything"
    );
    assert_eq!(read(&mut inner.reader().unwrap()), ("abc".into(), END));
}

#[test]
fn the_body_is_let_go_when_nobody_can_read_it_any_more() {
    let fed = Fed::default();
    let mut recording = Recording::new(ReplayBody::new(fed.clone()), 1);
    let mut old = recording.reader().unwrap();
    let mut new = recording.reader().unwrap();
    fed.chunk("ab");
    assert_eq!(read(&mut new), ("ab".into(), Poll::Pending));
    drop(recording);
    drop(new);
    assert!(
        !fed.is_held(),
        "a reader that was cut off does not keep the caller's upload open"
    );
    assert_eq!(read(&mut old), (String::new(), Poll::Pending));
}
