//! Reading the complete body, and one recording for several layers.

use super::*;

#[test]
fn body_can_be_read_completely_and_still_be_replayed() {
    let fed = Fed::default();
    let mut recording = record(ReplayBody::new(fed.clone()), 100);
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
fn source_error_in_poll_whole_stays_for_the_next_reader() {
    let fed = Fed::default();
    let mut recording = record(ReplayBody::new(fed.clone()), 100);
    fed.chunk("a");
    fed.feed(Err("broken"));
    assert_eq!(whole(&recording), Poll::Ready(None));
    assert_eq!(recording.not_replayable(), Some(NotReplayable::BodyFailed));
    let mut reader = recording.reader().unwrap();
    assert_eq!(read(&mut reader), ("a".into(), BROKEN));
}

#[test]
fn stacked_layers_share_one_recording() {
    let fed = Fed::default();
    let mut outer = record(ReplayBody::new(fed.clone()), 100);
    let mut inner = Recording::new(outer.reader().unwrap(), 100, &mut None);
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
fn largest_limit_holds_for_stacked_layers() {
    for (outer, inner) in [(2, 100), (100, 2)] {
        let fed = Fed::default();
        let mut outer = record(ReplayBody::new(fed.clone()), outer);
        let mut inner = Recording::new(outer.reader().unwrap(), inner, &mut None);
        fed.chunk("abc");
        fed.end();
        assert_eq!(read(&mut inner.reader().unwrap()), ("abc".into(), END));
        assert_eq!(read(&mut inner.reader().unwrap()), ("abc".into(), END));
        drop(inner);
        assert_eq!(read(&mut outer.reader().unwrap()), ("abc".into(), END));
    }
}

#[test]
fn inner_layer_takes_over_the_lead_with_the_recording() {
    let fed = Fed::default();
    let mut outer = record(ReplayBody::new(fed.clone()), 2);
    let mut rejected_body = outer.reader().unwrap();
    fed.chunk("ab");
    assert_eq!(read(&mut rejected_body), ("ab".into(), Poll::Pending));
    let mut inner = Recording::new(outer.reader().unwrap(), 2, &mut None);
    fed.chunk("c");
    fed.end();
    assert_eq!(
        read(&mut rejected_body),
        (String::new(), Poll::Pending),
        "it would outgrow the bound before the inner layer has sent anything"
    );
    assert_eq!(read(&mut inner.reader().unwrap()), ("abc".into(), END));
}

#[test]
fn rejected_reader_of_an_inner_layer_ends_with_the_call() {
    let (fed, mut ending) = (Fed::default(), None);
    let source = || ReplayBody::new(fed.clone());
    // Each layer boxes the body, so each has its own recording.
    let mut outer = Recording::new(source(), 100, &mut ending);
    let mut inner = Recording::new(source(), 100, &mut ending);
    let mut old = inner.reader().unwrap();
    inner.reader().unwrap().reject_older();
    inner.end();
    let woken = Arc::<Woken>::default();
    assert!(poll(&mut old, &woken).is_pending());
    drop(outer.reader());
    outer.end();
    assert!(woken.take());
    assert_eq!(read(&mut old), (String::new(), INTERRUPTED));
}

#[test]
fn rejected_reader_ends_with_the_outermost_layer_that_records() {
    let fed = Fed::default();
    let mut ending = None;
    // The outer layer has the body in memory or sends it once. A service between the layers turns it into a stream.
    let outer = Recording::new(ReplayBody::new(Fed::of_length(2)), 1, &mut ending);
    let mut inner = Recording::new(ReplayBody::new(fed.clone()), 100, &mut ending);
    let mut old = inner.reader().unwrap();
    inner.reader().unwrap().reject_older();
    let woken = Arc::<Woken>::default();
    assert!(poll(&mut old, &woken).is_pending());
    inner.end();
    drop(outer);
    assert!(woken.take());
    assert_eq!(read(&mut old), (String::new(), INTERRUPTED));
}

#[test]
fn body_is_released_when_only_rejected_readers_are_left() {
    let fed = Fed::default();
    let mut recording = record(ReplayBody::new(fed.clone()), 1);
    let mut old = recording.reader().unwrap();
    let mut new = recording.reader().unwrap();
    new.reject_older();
    fed.chunk("ab");
    assert_eq!(read(&mut new), ("ab".into(), Poll::Pending));
    drop(recording);
    drop(new);
    assert!(!fed.is_held(), "no reader is left that needs the source");
    assert_eq!(read(&mut old), (String::new(), INTERRUPTED));
}
