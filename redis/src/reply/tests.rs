use std::time::Duration;

use proptest::{collection::vec, prelude::*};
use redis::Value;
use tower_429::share::Unit;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const REPLICA: Id = Id::from_bytes([8; 16]);

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<i64>().prop_map(Value::Int),
        Just(Value::BulkString(vec![7; 32])),
        Just(Value::BulkString(vec![b'1'; 33])),
        vec(any::<u8>(), 0..40).prop_map(Value::BulkString),
        "[a-z]{0,9}".prop_map(Value::SimpleString),
    ];
    leaf.prop_recursive(2, 16, 9, |inner| vec(inner, 0..9).prop_map(Value::Array))
}

fn name(replica: u8) -> Value {
    Value::BulkString([[7; 16], [replica; 16]].concat())
}

/// Returns a fact as the server keeps it.
fn kept(came: u64, lasts: u64, fact: &[u8]) -> Value {
    let head = [came, lasts, 8].map(u64::to_be_bytes);
    Value::BulkString([head.as_flattened(), fact].concat())
}

fn grant(unit: u8, used: u64, granted: u64) -> Value {
    let numbers = [used, granted].map(u64::to_be_bytes);
    Value::BulkString([&[7; 16], &[unit][..], numbers.as_flattened()].concat())
}

/// Returns a reply with the time `now` and one live process.
fn reply(now: i64, grants: Vec<Value>, names: Vec<Value>, facts: Vec<Value>) -> Value {
    Value::Array(vec![
        Value::Int(429),
        Value::Int(5),
        Value::Int(1),
        Value::Int(now),
        Value::BulkString(vec![7; 32]),
        Value::Array(grants),
        Value::Array(names),
        Value::Array(facts),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn random_reply_gives_an_error_or_no_age_over_a_day(
        any in value(), values in [vec(value(), 0..6), vec(value(), 0..6), vec(value(), 0..6)],
        now in any::<i64>(), times in any::<[u64; 2]>(), fact in vec(any::<u8>(), 0..80),
    ) {
        read(&any, REPLICA).ok();
        let [grants, names, facts] = values;
        read(&reply(now, grants, names, facts), REPLICA).ok();
        let facts = vec![kept(times[0], times[1], &fact), kept(times[0], times[1], &encoded())];
        let grants = vec![grant(b'2', times[0], times[1])];
        let response = read(&reply(now, grants, vec![name(7), name(7)], facts), REPLICA).expect("it has the right form");
        let ages: Vec<_> = response.limits.iter().flat_map(|it| &it.facts).map(|(_, _, age)| *age).collect();
        prop_assert!(!ages.is_empty() && ages.iter().all(|age| *age <= DAY));
    }
}

fn encoded() -> Vec<u8> {
    let mut fact = tower_429::share::Fact::default();
    fact.version = 8;
    crate::codec::encode(&fact).expect("it is short")
}

#[test]
fn reply_is_read() {
    let now = 2_000_000_000_000;
    let facts = vec![
        kept(now - 1_500, 0, &encoded()),
        kept(now - 1_500, 0, b"broken"),
        Value::Nil,
        kept(0, 0, &encoded()),
        kept(now + 9, 0, &encoded()),
        // Facts of processes that have ended: one still matters, the other does not.
        kept(now - 10, 11, &encoded()),
        kept(now - 10, 10, &encoded()),
        kept(now, 10, &encoded()),
    ];
    let names = [7, 7, 7, 7, 7, 1, 1, 8].map(name).to_vec();
    let reply = reply(now as i64, vec![grant(b'2', 9, 3)], names, facts);
    let response = read(&reply, REPLICA).expect("it can be read");
    assert_eq!(
        (response.epoch, response.newest_fact, response.is_learning),
        (429, 5, true)
    );
    assert_eq!(response.replicas, [Id::from_bytes([7; 16])]);
    let [limit] = &response.limits[..] else {
        panic!("one limit: {response:?}");
    };
    assert_eq!(limit.grants, [(Unit::Tokens, Grant::new(9, 3))]);
    let ages: Vec<_> = limit.facts.iter().map(|(_, _, age)| *age).collect();
    assert_eq!(
        ages,
        [
            Duration::from_micros(1_500),
            DAY,
            Duration::ZERO,
            Duration::from_micros(10)
        ],
        "neither the broken one, nor one that has ended, nor its own"
    );
    assert!(limit.facts.iter().all(|(_, fact, _)| fact.version == 8));
}
