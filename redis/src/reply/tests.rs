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
    let of_fact = |age, fact| vec![id(), id(), Value::Int(age), Value::BulkString(fact)];
    let fact = fact.expect("it is short");
    let mut facts = of_fact(1_500, fact.clone());
    facts.append(&mut of_fact(1_500, b"broken".to_vec()));
    facts.append(&mut of_fact(i64::MAX, fact.clone()));
    facts.append(&mut of_fact(i64::MIN, fact));
    let hear =
        read(&reply(vec![field(), Value::Int(9), Value::Int(3)], facts)).expect("it can be read");
    assert_eq!(
        (hear.epoch, hear.newest_fact, hear.is_learning),
        (429, 5, true)
    );
    assert_eq!(hear.replicas, [Id::from_bytes([7; 16])]);
    let [limit] = &hear.limits[..] else {
        panic!("one limit: {hear:?}");
    };
    assert_eq!(limit.grants, [(Unit::Tokens, Grant::new(9, 3))]);
    let ages: Vec<_> = limit.facts.iter().map(|(_, _, age)| *age).collect();
    assert_eq!(
        ages,
        [Duration::from_micros(1_500), DAY, Duration::ZERO],
        "the broken one is left out"
    );
    assert!(limit.facts.iter().all(|(_, fact, _)| fact.version == 8));
}
