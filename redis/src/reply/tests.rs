use std::time::Duration;

use proptest::{collection::vec, prelude::*};
use redis::Value;
use tower_429::share::Unit;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<i64>().prop_map(Value::Int),
        Just(Value::BulkString(vec![7; 16])),
        Just(Value::BulkString(b"429".to_vec())),
        vec(any::<u8>(), 0..40).prop_map(Value::BulkString),
        "[a-z]{0,9}".prop_map(Value::SimpleString),
    ];
    leaf.prop_recursive(2, 16, 4, |inner| vec(inner, 0..4).prop_map(Value::Array))
}

fn id() -> Value {
    Value::BulkString(vec![7; 16])
}

fn field() -> Value {
    Value::BulkString([&[7; 16][..], b"2"].concat())
}

fn reply(limits: Vec<Value>, facts: Vec<Value>) -> Value {
    let replicas = Value::Array(vec![id()]);
    Value::Array(vec![
        Value::BulkString(b"429".to_vec()),
        Value::Int(5),
        Value::Int(1),
        replicas,
        Value::Array(limits),
        Value::Array(facts),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn random_reply_gives_an_error_or_no_age_over_a_day(
        any in value(), limits in vec(value(), 0..6), facts in vec(value(), 0..8), age in any::<i64>(), fact in vec(any::<u8>(), 0..80),
    ) {
        read(&any).ok();
        read(&reply(limits, facts)).ok();
        let of_fact = vec![id(), id(), Value::Int(age), Value::BulkString(fact)];
        let hear = read(&reply(vec![field(), Value::Int(1), Value::Int(age)], of_fact)).expect("it has the right form");
        let mut ages = hear.limits.iter().flat_map(|it| &it.facts).map(|(_, _, age)| *age);
        prop_assert!(ages.all(|age| age <= DAY));
    }
}

#[test]
fn reply_is_read() {
    let fact = crate::codec::encode(&{
        let mut fact = tower_429::share::Fact::default();
        fact.version = 8;
        fact
    });
    let of_fact = |fact| vec![id(), id(), Value::Int(1_500), Value::BulkString(fact)];
    let mut facts = of_fact(fact.expect("it is short"));
    facts.append(&mut of_fact(b"broken".to_vec()));
    let hear =
        read(&reply(vec![field(), Value::Int(9), Value::Int(3)], facts)).expect("it can be read");
    assert_eq!((hear.epoch, hear.heard, hear.is_learning), (429, 5, true));
    assert_eq!(hear.replicas, [Id::from_bytes([7; 16])]);
    let [limit] = &hear.limits[..] else {
        panic!("one limit: {hear:?}");
    };
    assert_eq!(limit.grants, [(Unit::Tokens, Grant::new(9, 3))]);
    let [(_, fact, age)] = &limit.facts[..] else {
        panic!("the broken one is left out: {limit:?}");
    };
    assert_eq!((fact.version, *age), (8, Duration::from_micros(1_500)));
}
