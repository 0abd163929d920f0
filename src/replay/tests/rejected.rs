//! Readers of rejected attempts continue, and end with the call at the latest.

use http_body_util::combinators::UnsyncBoxBody;

use super::*;
use crate::replay::RequestBody;

/// The body type of a client that accepts only the error type of the source.
type Client = UnsyncBoxBody<Bytes, &'static str>;

/// Returns a recording, the reader of a rejected attempt and the next reader.
fn rejected(fed: &Fed, limit: u64) -> (Recording<Fed>, ReplayBody<Fed>, ReplayBody<Fed>) {
    let mut recording = record(ReplayBody::new(fed.clone()), limit);
    let old = recording.reader().unwrap();
    let new = recording.reader().unwrap();
    new.reject_older();
    (recording, old, new)
}

#[test]
fn reader_is_interrupted_and_woken_when_the_body_outgrows_the_bound() {
    let fed = Fed::default();
    let (_recording, mut old, mut new) = rejected(&fed, 4);
    let woken = Arc::<Woken>::default();
    fed.chunk("abcd");
    assert_eq!(read(&mut new), ("abcd".into(), Poll::Pending));
    assert_eq!(read(&mut old), ("abcd".into(), Poll::Pending));
    assert!(poll(&mut old, &woken).is_pending());
    fed.chunk("e");
    assert_eq!(read(&mut new), ("e".into(), Poll::Pending));
    assert!(woken.take());
    assert_eq!(read(&mut old), (String::new(), INTERRUPTED));
    fed.end();
    assert_eq!(read(&mut new), (String::new(), END));
}

#[test]
fn interim_leader_is_interrupted_when_the_body_outgrows_the_bound() {
    let fed = Fed::default();
    let (_recording, mut old, mut new) = rejected(&fed, 4);
    fed.chunk("abcd");
    fed.chunk("e");
    assert_eq!(read(&mut old), ("abcd".into(), INTERRUPTED));
    fed.end();
    assert_eq!(read(&mut new), ("abcde".into(), END));
}

#[test]
fn reader_reads_the_recording_after_its_call_and_is_then_interrupted() {
    let fed = Fed::default();
    let (mut recording, mut old, mut new) = rejected(&fed, 100);
    let woken = Arc::<Woken>::default();
    assert!(poll(&mut old, &woken).is_pending());
    fed.chunk("ab");
    assert_eq!(read(&mut new), ("ab".into(), Poll::Pending));
    recording.end();
    assert!(woken.take());
    assert_eq!(read(&mut old), ("ab".into(), INTERRUPTED));
    fed.chunk("c");
    fed.end();
    assert_eq!(
        read(&mut new),
        ("c".into(), END),
        "the last attempt is not interrupted"
    );
}

#[test]
fn reader_ends_cleanly_if_the_body_ended_before_the_call() {
    let fed = Fed::default();
    let (mut recording, mut old, mut new) = rejected(&fed, 100);
    fed.chunk("ab");
    fed.end();
    assert_eq!(read(&mut new), ("ab".into(), END));
    recording.end();
    drop(new);
    assert_eq!(read(&mut old), ("ab".into(), END));
}

#[test]
fn reader_of_a_call_that_is_dropped_in_a_wait_is_interrupted() {
    let fed = Fed::default();
    let (recording, mut old, new) = rejected(&fed, 100);
    let woken = Arc::<Woken>::default();
    assert!(poll(&mut old, &woken).is_pending());
    drop(new);
    drop(recording);
    assert!(woken.take());
    assert!(!fed.is_held());
    assert_eq!(read(&mut old), (String::new(), INTERRUPTED));
}

#[test]
fn reader_that_left_a_frame_to_the_next_never_ends_cleanly() {
    let fed = Fed::default();
    let mut recording = record(ReplayBody::new(fed.clone()), 4);
    let mut old = recording.reader().unwrap();
    let new = recording.reader().unwrap();
    fed.chunk("abcd");
    fed.chunk("efgh");
    assert_eq!(read(&mut old), ("abcd".into(), Poll::Pending));
    new.reject_older();
    drop((recording, new));
    fed.end();
    assert_eq!(read(&mut old), (String::new(), INTERRUPTED));
}

#[test]
fn reader_in_a_boxed_body_ends_with_the_boxed_error_type() {
    let source = Client::new(http_body_util::StreamBody::new(futures::stream::pending()));
    let mut recording = record(ReplayBody::new(source), 100);
    let mut old = Client::from_replay(recording.reader().unwrap());
    recording.reader().unwrap().reject_older();
    recording.end();
    let (text, end) = read(&mut old);
    assert_eq!(text, "");
    let Poll::Ready(Some(error)) = end else {
        panic!("{end:?}");
    };
    assert!(error.contains("rejected"), "{error}");
}

/// An error without a constructor.
#[derive(Debug, PartialEq)]
enum Never {}

#[test]
fn reader_in_a_body_that_cannot_fail_reads_to_the_end() {
    let (feed, mut fed) = tokio::sync::mpsc::unbounded_channel::<&'static str>();
    let pieces = futures::stream::poll_fn(move |cx| fed.poll_recv(cx));
    let pieces = futures::StreamExt::map(pieces, |piece| Ok(Frame::data(Bytes::from(piece))));
    let source = UnsyncBoxBody::<_, Never>::new(http_body_util::StreamBody::new(pieces));
    let mut recording = record(ReplayBody::new(source), 4);
    let mut old = UnsyncBoxBody::from_replay(recording.reader().unwrap());
    let next = recording.reader().unwrap();
    next.reject_older();
    let mut new = UnsyncBoxBody::from_replay(next);
    assert_eq!(read(&mut new).0, "");
    // More than the bound at once, so the leader yields to the follower.
    let mut got = [String::new(), String::new()];
    for _ in 0..100 {
        feed.send("abc").unwrap();
    }
    while got[0].len() < 300 {
        got[0] += &read(&mut new).0;
        got[1] += &read(&mut old).0;
    }
    assert_eq!(got[0], got[1]);
    drop(new);
    feed.send("def").unwrap();
    assert_eq!(read(&mut old), ("def".into(), Poll::Pending));
    drop(feed);
    let woken = Arc::<Woken>::default();
    assert!(
        poll(&mut old, &woken).is_pending(),
        "it must not end before its call"
    );
    recording.end();
    assert!(woken.take());
    assert_eq!(read(&mut old), (String::new(), Poll::Ready(None)));
}

#[test]
fn leader_stops_waiting_for_a_follower_that_does_not_read() {
    let pieces = (0..10).map(|_| Ok(Frame::data(Bytes::from("abc"))));
    let source = http_body_util::StreamBody::new(futures::stream::iter(pieces));
    let source = UnsyncBoxBody::<_, Never>::new(source);
    let mut recording = record(ReplayBody::new(source), 4);
    let mut old = UnsyncBoxBody::from_replay(recording.reader().unwrap());
    let next = recording.reader().unwrap();
    next.reject_older();
    let mut new = UnsyncBoxBody::from_replay(next);
    let mut got = String::new();
    let woken = Arc::<Woken>::default();
    loop {
        match poll(&mut new, &woken) {
            Poll::Ready(Some(frame)) => {
                let chunk = frame.unwrap().into_data().unwrap();
                got.push_str(std::str::from_utf8(&chunk).unwrap());
            }
            Poll::Ready(None) => break,
            Poll::Pending => assert!(woken.take(), "the leader wakes itself"),
        }
    }
    assert_eq!(got, "abc".repeat(10));
    assert_eq!(read(&mut old), (String::new(), Poll::Pending));
}
