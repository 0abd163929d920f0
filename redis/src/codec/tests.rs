use std::time::Duration;

use proptest::{collection::vec, option, prelude::*};

use tower_429::share::LearnedTraits;

use super::*;
use crate::tests::times_of;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn duration_strategy() -> impl Strategy<Value = Duration> {
    (0..=DAY.as_secs() * 1_000_000).prop_map(Duration::from_micros)
}

fn name<T: Numbered + std::fmt::Debug>() -> impl Strategy<Value = Option<T>> {
    let index = option::of(0..T::NUMBERS.len());
    index.prop_map(|index| Some(T::NUMBERS[index?].1))
}

fn report() -> impl Strategy<Value = Report> {
    let numbers = (
        any::<Option<u64>>(),
        any::<Option<u64>>(),
        any::<Option<u64>>(),
    );
    let times = (option::of(duration_strategy()), duration_strategy());
    let names = (name(), name(), name());
    (names, numbers, times).prop_map(|(names, numbers, (reset, sent))| {
        let mut bucket = Bucket::new(names.0.unwrap_or(Dimension::Tokens));
        (bucket.window, bucket.scope, bucket.reset) = (names.1, names.2, reset);
        (bucket.limit, bucket.remaining, bucket.cost) = numbers;
        Report::new(bucket, sent)
    })
}

fn rejected() -> impl Strategy<Value = RejectedFact> {
    let names = (name(), name(), name(), name());
    let numbers = (
        any::<Option<u64>>(),
        any::<Option<u64>>(),
        any::<Option<u64>>(),
    );
    let flags = any::<[Option<bool>; 4]>();
    let times = (
        option::of(duration_strategy()),
        duration_strategy(),
        duration_strategy(),
        duration_strategy(),
    );
    let all = (names, numbers, flags, times, vec(report(), 0..4));
    all.prop_map(
        |(names, numbers, flags, (retry_after, sent, came, ends), reports)| {
            let mut rejection = Rejection::new(names.0.unwrap_or(Reason::RateLimited));
            (rejection.dimension, rejection.window, rejection.scope) = (names.1, names.2, names.3);
            let of = &mut rejection.numbers;
            (of.limit, of.used, of.requested) = numbers;
            (rejection.retry_after, rejection.should_retry) = (retry_after, flags[0]);
            let remedies = &mut rejection.remedies;
            (remedies.time, remedies.key, remedies.model) = (flags[1], flags[2], flags[3]);
            RejectedFact::new(rejection, reports, (sent, came), ends)
        },
    )
}

fn traits() -> impl Strategy<Value = LearnedTraits> {
    let dimensions = || vec(name().prop_filter_map("none", |name| name), 0..4);
    let flags = any::<[Option<bool>; 3]>();
    (flags, dimensions(), dimensions()).prop_map(|(flags, confirmed, disproved)| {
        let mut traits = LearnedTraits::default();
        [
            traits.steady_requests,
            traits.steady_tokens,
            traits.opens_in_full,
        ] = flags;
        (traits.confirmed, traits.disproved) = (confirmed, disproved);
        traits
    })
}

fn fact() -> impl Strategy<Value = Fact> {
    let counts = (1..=u64::MAX, any::<[u64; 6]>());
    let sends = vec((any::<u64>(), duration_strategy()), 0..64);
    let rest = (
        option::of(duration_strategy()),
        option::of(rejected()),
        vec(report(), 0..16),
        (traits(), any::<Option<u64>>()),
    );
    (counts, sends, rest).prop_map(
        |((version, counts), sends, (last, rejection, reports, (traits, slots)))| {
            let mut fact = Fact::default();
            [fact.sent, fact.passed, fact.rejected, fact.ended, ..] = counts;
            (fact.version, fact.cost) = (version, Cost::new(counts[4], counts[5]));
            (fact.sends, fact.last_passed) = (sends, last);
            (fact.rejection, fact.reports) = (rejection, reports);
            (fact.traits, fact.slots) = (traits, slots);
            fact
        },
    )
}

/// Returns a field of any tag, length and value.
fn field() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        vec(any::<u8>(), 0..20),
        any::<u64>().prop_map(|number| number.to_be_bytes().to_vec()),
        any::<[u64; 2]>().prop_map(|two| two.map(u64::to_be_bytes).as_flattened().to_vec()),
    ];
    (0..20_u8, value).prop_map(|(tag, value)| {
        let mut writer = Writer::default();
        writer.bytes(tag, &value);
        writer.0
    })
}

/// Returns a value for one field of a fact: one of a rejection and of a report has fields itself.
fn hostile_value() -> impl Strategy<Value = Vec<u8>> {
    let fields = vec(
        prop_oneof![4 => field(), 1 => vec(field(), 0..4).prop_map(|it| it.concat())],
        0..6,
    );
    prop_oneof![
        vec(any::<u8>(), 0..64),
        fields.prop_map(|fields| fields.concat())
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn fact_is_read_as_it_was_written(fact in fact()) {
        let bytes = encode(&fact).expect("it is not too long");
        prop_assert_eq!(decode(&bytes), Some(fact));
    }

    #[test]
    fn fields_of_a_later_version_are_skipped(fact in fact(), tag in 64..=u8::MAX, value in vec(any::<u8>(), 0..40)) {
        let mut writer = Writer(encode(&fact).expect("it is not too long"));
        writer.bytes(tag, &value);
        prop_assert_eq!(decode(&writer.0), Some(fact));
    }

    #[test]
    fn fact_that_is_cut_off_is_none_or_has_less(fact in fact(), part in 0.0..1.0) {
        let bytes = encode(&fact).expect("it is not too long");
        let length = (bytes.len() as f64 * part) as usize;
        let read = decode(&bytes[..length]);
        prop_assert!(read.is_none_or(|read| read.reports.len() <= fact.reports.len()));
    }
}

proptest! {
    // So many for each field.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(10_000) })]

    #[test]
    fn random_value_of_any_field_gives_no_time_over_a_day(value in hostile_value()) {
        for tag in 0..12 {
            let mut writer = Writer(vec![VERSION]);
            writer.number(1, 1);
            writer.bytes(tag, &value);
            if let Some(fact) = decode(&writer.0) {
                prop_assert!(times_of(&fact).iter().all(|time| *time <= DAY));
            }
        }
        prop_assert!(decode(&value).is_none_or(|fact| times_of(&fact).iter().all(|time| *time <= DAY)));
    }
}

#[test]
fn fact_of_another_version_without_one_or_too_long_is_none() {
    let mut fact = Fact::default();
    fact.version = 1;
    let bytes = encode(&fact).expect("it is short");
    assert_eq!(decode(&bytes), Some(fact.clone()));
    assert_eq!(decode(&[&[VERSION + 1], &bytes[1..]].concat()), None);
    assert_eq!(decode(&[VERSION]), None);
    let long = Writer(bytes);
    let mut long = Writer(long.0);
    long.bytes(99, &[0; MAX_BYTES]);
    assert_eq!(decode(&long.0), None);
    fact.sends = vec![(1, Duration::ZERO); MAX_BYTES];
    assert_eq!(encode(&fact), None);
}

#[test]
fn names_of_a_later_version_read_as_none() {
    let mut report = Writer::default();
    report.number(1, 200);
    report.number(8, 0);
    let mut rejected = Writer::default();
    for (tag, number) in [(1, 200), (14, 0), (15, 0), (16, 9)] {
        rejected.number(tag, number);
    }
    let mut writer = Writer(vec![VERSION]);
    writer.number(1, 3);
    writer.bytes(9, &rejected.0);
    writer.bytes(10, &report.0);
    let fact = decode(&writer.0).expect("the rest can be read");
    assert_eq!(
        (fact.version, fact.rejection, fact.reports),
        (3, None, Vec::new())
    );
}

#[test]
fn longer_times_are_cut_to_a_day_and_rounded_so_that_nothing_is_early() {
    assert_eq!(duration(micros(2 * DAY)), DAY);
    assert_eq!(duration(u64::MAX), DAY);
    assert_eq!(micros(Duration::from_nanos(1_001)), 2);
    assert_eq!(age_micros(Duration::from_nanos(1_999)), 1);
}
