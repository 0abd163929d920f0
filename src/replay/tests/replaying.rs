//! Readers read the recording, and the error that ended it.

use super::*;

#[test]
fn body_in_memory_is_replayed_without_a_copy() {
    let bytes = Bytes::from(vec![b'x'; 64]);
    let at = bytes.as_ptr();
    let mut recording = record(ReplayBody::new(http_body_util::Full::new(bytes)), 64);
    assert!(recording.in_memory());
    for _ in 0..3 {
        let replay = recording.reader().unwrap();
        assert_eq!(replay.size_hint().exact(), Some(64));
        assert_eq!(replay.as_bytes().unwrap().as_ptr(), at);
    }
    assert_eq!(recording.not_replayable(), None);
}

#[test]
fn second_reader_reads_the_recording_and_then_the_source() {
    let fed = Fed::of_length(6);
    let mut recording = record(ReplayBody::new(fed.clone()), 100);
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
fn every_reader_is_woken_by_the_change_it_waits_for() {
    let fed = Fed::default();
    let mut recording = record(ReplayBody::new(fed.clone()), 100);
    let (old, new) = (Arc::<Woken>::default(), Arc::<Woken>::default());
    let mut first = recording.reader().unwrap();
    assert!(poll(&mut first, &old).is_pending());
    let mut second = recording.reader().unwrap();
    assert!(poll(&mut second, &new).is_pending());
    fed.chunk("a");
    assert!(new.take() && !old.take());
    assert!(poll(&mut second, &new).is_ready());
    assert!(old.take(), "the follower is woken by the chunk");
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
fn trailers_are_replayed() {
    let fed = Fed::default();
    let mut trailers = HeaderMap::new();
    trailers.insert("checksum", "7".parse().unwrap());
    fed.chunk("a");
    fed.feed(Ok(Frame::trailers(trailers)));
    fed.end();
    let mut recording = record(ReplayBody::new(fed), 100);
    for _ in 0..2 {
        let mut reader = recording.reader().unwrap();
        assert_eq!(read(&mut reader), ("a{\"checksum\": \"7\"}".into(), END));
        assert!(reader.is_end_stream());
    }
}

#[test]
fn follower_is_woken_by_trailers() {
    let fed = Fed::default();
    let mut recording = record(ReplayBody::new(fed.clone()), 100);
    let mut old = recording.reader().unwrap();
    let mut new = recording.reader().unwrap();
    let woken = Arc::<Woken>::default();
    assert!(poll(&mut old, &woken).is_pending());
    fed.feed(Ok(Frame::trailers(HeaderMap::new())));
    // A client does not poll again after trailers.
    assert!(poll(&mut new, &Arc::default()).is_ready());
    assert!(woken.take());
    assert!(poll(&mut old, &woken).is_ready());
}

#[test]
fn source_error_reaches_the_newest_reader_and_interrupts_older_ones() {
    let fed = Fed::default();
    let mut recording = record(ReplayBody::new(fed.clone()), 100);
    let mut old = recording.reader().unwrap();
    fed.chunk("a");
    assert_eq!(read(&mut old), ("a".into(), Poll::Pending));
    let mut new = recording.reader().unwrap();
    fed.feed(Err("broken"));
    assert_eq!(read(&mut old), (String::new(), Poll::Pending));
    assert_eq!(read(&mut new), ("a".into(), BROKEN));
    assert_eq!(
        read(&mut old),
        (String::new(), INTERRUPTED),
        "an interrupted body must not end cleanly"
    );
    assert_eq!(recording.not_replayable(), Some(NotReplayable::BodyFailed));
    assert!(recording.reader().is_none(), "it would end at the failure");
}

#[test]
fn source_error_before_the_first_send_is_not_lost() {
    let fed = Fed::default();
    fed.feed(Err("broken"));
    let mut recording = record(ReplayBody::new(fed), 100);
    let mut reader = recording.reader().unwrap();
    assert_eq!(read(&mut reader), (String::new(), BROKEN));
}

#[test]
fn body_is_unwrapped_only_if_it_was_not_recorded() {
    let fed = Fed::default();
    fed.chunk("ab");
    let unwrapped = ReplayBody::new(fed.clone()).into_inner();
    assert_eq!(read(&mut unwrapped.unwrap()).0, "ab");

    fed.chunk("cd");
    let mut streaming = record(ReplayBody::new(fed.clone()), 100);
    let mut in_memory = record(ReplayBody::from(Bytes::from("abcd")), 100);
    fed.end();
    let reader = streaming.reader().unwrap().into_inner();
    assert_eq!(read(&mut reader.err().unwrap()), ("cd".into(), END));
    let reader: Result<Fed, _> = in_memory.reader().unwrap().into_inner();
    assert_eq!(read(&mut reader.err().unwrap()), ("abcd".into(), END));
}
