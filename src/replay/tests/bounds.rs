//! A body over the bound is sent once.

use super::*;

#[test]
fn body_in_too_many_chunks_is_not_kept_however_short_they_are() {
    for reads_whole in [false, true] {
        let fed = Fed::default();
        let mut recording = record(ReplayBody::new(fed.clone()), u64::MAX);
        let mut reader = recording.reader().unwrap();
        for _ in 0..=64 * 1024 {
            assert_eq!(recording.not_replayable(), None);
            fed.chunk("a");
            if !reads_whole {
                assert!(poll(&mut reader, &Arc::default()).is_ready());
            }
        }
        if reads_whole {
            assert_eq!(whole(&recording), Poll::Ready(None));
        }
        fed.end();
        assert_eq!(recording.not_replayable(), Some(NotReplayable::TooLarge));
        let (rest, end) = read(&mut reader);
        assert_eq!(end, END);
        assert_eq!(rest.len(), if reads_whole { 64 * 1024 + 1 } else { 0 });
    }
}

#[test]
fn body_known_to_exceed_the_bound_is_sent_once() {
    let mut recording = record(ReplayBody::new(Fed::of_length(11)), 10);
    assert_eq!(recording.not_replayable(), Some(NotReplayable::TooLarge));
    assert!(recording.reader().is_some());
    assert!(recording.reader().is_none());
}

#[test]
fn body_that_outgrows_the_bound_streams_on_and_is_not_kept() {
    let fed = Fed::default();
    let mut recording = record(ReplayBody::new(fed.clone()), 4);
    let mut first = recording.reader().unwrap();
    fed.chunk("abcd");
    assert_eq!(read(&mut first), ("abcd".into(), Poll::Pending));
    assert_eq!(recording.not_replayable(), None);
    fed.chunk("e");
    assert_eq!(read(&mut first), ("e".into(), Poll::Pending));
    assert_eq!(recording.not_replayable(), Some(NotReplayable::TooLarge));
    assert!(
        recording.reader().is_none(),
        "its reader would stay pending forever"
    );
    fed.chunk("f");
    fed.end();
    assert_eq!(read(&mut first), ("f".into(), END));
    assert!(first.is_end_stream());
}

#[test]
fn body_too_large_to_read_completely_is_still_sent_once() {
    let fed = Fed::default();
    let mut recording = record(ReplayBody::new(fed.clone()), 4);
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
fn body_is_kept_up_to_a_limit_that_an_inner_layer_raises() {
    let fed = Fed::of_length(6);
    let mut outer = record(ReplayBody::new(fed.clone()), 4);
    assert_eq!(outer.not_replayable(), Some(NotReplayable::TooLarge));
    let mut inner = record(outer.reader().unwrap(), 6);
    let mut first = inner.reader().unwrap();
    fed.chunk("abc");
    fed.chunk("def");
    fed.end();
    assert_eq!(read(&mut first), ("abcdef".into(), END));
    let mut second = outer.reader().unwrap();
    assert_eq!(read(&mut second), ("abcdef".into(), END));
}

#[test]
fn body_in_memory_is_kept_up_to_a_limit_that_is_raised() {
    let mut recording = record(
        ReplayBody::new(http_body_util::Full::new(Bytes::from("abcdef"))),
        4,
    );
    assert!(recording.reader().is_some(), "for the first send");
    assert!(recording.reader().is_none());
    assert_eq!(recording.not_replayable(), Some(NotReplayable::TooLarge));
    assert_eq!(whole(&recording), Poll::Ready(None));
    recording.raise_limit(6);
    assert_eq!(recording.not_replayable(), None);
    let (text, end) = read(&mut recording.reader().unwrap());
    assert_eq!(text, "abcdef");
    assert!(matches!(end, Poll::Ready(None)));
}
