//! Keys of one account, which a model of a provider names or does not name, and keys of separate accounts.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::world::{Answer, World};
use crate::{
    key_rotation::{
        Key,
        pool::{GroupSource, KeyState, choice::KeyRequest, keys::Order},
    },
    quota::QueuePlace,
    rejection::{Bucket, Dimension, NamedAccount, Reason, Rejection},
    telemetry::KeyNotice,
};

const WINDOW: Duration = Duration::from_secs(60);

/// How the pool can know the accounts of its keys.
#[derive(Clone, Copy, Debug)]
enum KnownBy {
    Given,
    Named,
    Counts,
}

const ORDERS: [Order; 3] = [Order::FillFirst, Order::RoundRobin, Order::LeastLoaded];

/// A provider, its accounts and their users.
#[derive(Clone, Copy)]
struct Scenario {
    order: Order,
    seed: u64,
    known_by: KnownBy,
    /// The account of each key.
    accounts: [usize; 4],
    limit: u64,
    /// How many requests other programs send with each account for each request of the pool.
    others: f64,
    workers: usize,
    calls: usize,
    /// The longest time between a request and its response.
    slowest: Duration,
}

struct Result {
    wasted: usize,
    took: Duration,
    /// How many groups the keys are in.
    groups: usize,
    /// How often keys were found to share their limits.
    joined: usize,
}

enum Flight {
    ArrivesAt(Instant),
    Ends(Instant, Answer),
}

impl Flight {
    fn at(&self) -> Instant {
        match self {
            Self::ArrivesAt(at) | Self::Ends(at, _) => *at,
        }
    }
}

impl Scenario {
    fn of(accounts: [usize; 4], order: Order, seed: u64) -> Self {
        Self {
            order,
            seed,
            known_by: KnownBy::Counts,
            accounts,
            limit: 60,
            others: 0.0,
            workers: 64,
            calls: 240,
            slowest: Duration::from_millis(500),
        }
    }

    fn answer(
        &self,
        number: u64,
        counts: &mut HashMap<(usize, u128), u64>,
        since: Duration,
    ) -> Answer {
        let account = self.accounts[usize::try_from(number).expect("few keys") - 1];
        let count = counts.entry((account, since.as_nanos() / WINDOW.as_nanos()));
        let count = count.or_default();
        let into = u64::try_from(since.as_nanos() % WINDOW.as_nanos()).expect("a minute");
        let reset = WINDOW - Duration::from_nanos(into);
        if *count >= self.limit {
            return Answer::Rejection(
                Rejection {
                    retry_after: Some(reset),
                    ..Rejection::new(Reason::RateLimited)
                },
                Vec::new(),
            );
        }
        *count += 1;
        Answer::Success(vec![Bucket {
            dimension: Dimension::Requests,
            window: None,
            scope: None,
            limit: Some(self.limit),
            remaining: Some(self.limit - *count),
            reset: Some(reset),
            cost: None,
        }])
    }

    fn run(self) -> Result {
        let keys = ["1", "2", "3", "4"].map(Key::new);
        let keys = match self.known_by {
            KnownBy::Given => keys.map(|key| key.group("given")),
            KnownBy::Named | KnownBy::Counts => keys,
        };
        let mut world = World::new(self.order, Duration::from_secs(60), &keys);
        let mut random = fastrand::Rng::with_seed(self.seed);
        let start = world.now;
        let (mut flights, mut counts) = (Vec::new(), HashMap::new());
        let (mut wasted, mut left, mut unsent, mut joined) = (0, self.calls, self.calls, 0);
        for key in (1..=4).filter(|_| self.others > 0.0) {
            for _ in 0..random.u64(..8) {
                drop(self.answer(key, &mut counts, Duration::ZERO));
            }
        }
        let request = KeyRequest::default();
        let start_call = |world: &mut World, place| {
            let is_first = place == QueuePlace::New;
            if !is_first || !world.take_in_turn(&request, world.now) {
                world.join(request.clone(), place);
            }
        };
        for _ in 0..self.workers.min(self.calls) {
            unsent -= 1;
            start_call(&mut world, QueuePlace::New);
        }
        while left > 0 {
            world.poll_due();
            while flights.len() < world.held.len() {
                let sent = world.held[flights.len()].sent.max(world.now);
                let travel = Duration::from_millis(random.u64(1..30));
                flights.push(Flight::ArrivesAt(sent + travel));
            }
            let next = (0..flights.len()).min_by_key(|index| flights[*index].at());
            let alarm = world.waiters.iter().filter_map(|it| it.alarm).min();
            let Some(index) =
                next.filter(|index| alarm.is_none_or(|at| flights[*index].at() <= at))
            else {
                world.now = alarm
                    .expect("an event or a timer is pending")
                    .max(world.now);
                continue;
            };
            world.now = world.now.max(flights[index].at());
            if let Flight::ArrivesAt(at) = flights[index] {
                let number = world.held[index].candidate.id().number();
                let answer = self.answer(number, &mut counts, at - start);
                while random.f64() < self.others / (1.0 + self.others) {
                    drop(self.answer(number, &mut counts, at - start));
                }
                let slowest = u64::try_from(self.slowest.as_millis()).expect("short");
                let latency = match answer {
                    Answer::Rejection(..) => Duration::from_millis(random.u64(20..60)),
                    _ => Duration::from_millis(random.u64(slowest / 4..slowest)),
                };
                flights[index] = Flight::Ends(at + latency, answer);
                continue;
            }
            let Flight::Ends(_, answer) = flights.swap_remove(index) else {
                unreachable!("it has arrived");
            };
            if let KnownBy::Named = self.known_by {
                let number = world.held[index].candidate.id().number();
                let account = self.accounts[usize::try_from(number).expect("few keys") - 1];
                let name = ["org-1", "org-2", "org-3", "org-4"][account];
                world.name(index, &NamedAccount::of(name, None));
            }
            world.answer(index, &answer);
            joined += world.keys().take_notices().len();
            match answer {
                Answer::Success(_) => {
                    left -= 1;
                    if unsent > 0 {
                        unsent -= 1;
                        start_call(&mut world, QueuePlace::New);
                    }
                }
                _ => {
                    wasted += 1;
                    start_call(&mut world, QueuePlace::Again);
                }
            }
        }
        let mut groups: Vec<_> = world.keys().entries.iter().map(|it| it.group_id).collect();
        groups.sort_unstable();
        groups.dedup();
        assert_eq!(world.out(), 0, "every reservation is released");
        Result {
            wasted,
            took: world.now - start,
            groups: groups.len(),
            joined,
        }
    }
}

#[test]
fn keys_of_one_account_share_its_limit_however_that_is_known() {
    for known_by in [KnownBy::Given, KnownBy::Named, KnownBy::Counts] {
        for order in ORDERS {
            for seed in 0..20 {
                let result = Scenario {
                    known_by,
                    ..Scenario::of([0; 4], order, seed)
                }
                .run();
                assert_eq!(result.groups, 1, "{known_by:?} {order:?} {seed}");
                let (wasted, took) = (result.wasted, result.took);
                let most = match known_by {
                    KnownBy::Given => 3,
                    KnownBy::Named => 20,
                    KnownBy::Counts => 50,
                };
                assert!(
                    wasted <= most,
                    "{known_by:?} {order:?} {seed}: {wasted} wasted"
                );
                assert!(took < WINDOW * 3 + Duration::from_secs(5), "{took:?}");
            }
        }
    }
}

#[test]
fn keys_of_one_account_are_found_though_others_use_it() {
    for order in ORDERS {
        for seed in 0..10 {
            let result = Scenario {
                others: 0.5,
                ..Scenario::of([0; 4], order, seed)
            }
            .run();
            assert!(result.groups <= 2, "{order:?} {seed}: {}", result.groups);
        }
    }
}

#[test]
fn keys_of_separate_accounts_are_never_joined() {
    for order in ORDERS {
        for (others, slowest) in [(0.0, 500), (0.3, 500), (1.0, 500), (0.5, 20_000)] {
            for seed in 0..50 {
                let result = Scenario {
                    others,
                    slowest: Duration::from_millis(slowest),
                    ..Scenario::of([0, 1, 2, 3], order, seed)
                }
                .run();
                assert_eq!(result.joined, 0, "{order:?} {others} {seed}");
            }
        }
    }
}

#[test]
fn keys_are_not_joined_if_only_some_share_a_limit() {
    for order in ORDERS {
        for accounts in [[0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1]] {
            for seed in 0..10 {
                let result = Scenario::of(accounts, order, seed).run();
                assert_eq!(result.joined, 0, "{order:?} {accounts:?} {seed}");
            }
        }
    }
}

/// A pool of keys without groups, which gets one response at a time.
struct Answers(World);

impl Answers {
    fn new(keys: &[Key]) -> Self {
        let order = Order::RoundRobin;
        Self(World::new(order, Duration::from_secs(60), keys))
    }

    /// Adds a response for the next key that names an account.
    fn name(&mut self, organization: &'static str, project: Option<&'static str>) {
        self.0.take_anyway(&KeyRequest::default(), self.0.now);
        self.0.name(0, &NamedAccount::of(organization, project));
        self.0.answer(0, &Answer::Success(Vec::new()));
    }

    fn groups(&mut self) -> Vec<Option<(String, GroupSource)>> {
        let keys = self.0.keys();
        let groups = (0..keys.entries.len()).map(|index| keys.group_of(index));
        groups
            .map(|group| group.map(|(name, source)| (name.to_string(), source)))
            .collect()
    }

    fn share(&mut self) -> bool {
        let entries = &self.0.keys().entries;
        entries[0].group_id == entries[1].group_id
    }
}

fn named(name: &str) -> Option<(String, GroupSource)> {
    Some((name.into(), GroupSource::Named))
}

#[test]
fn keys_of_one_organization_and_project_share_their_limits() {
    let mut answers = Answers::new(&["a".into(), "b".into()]);
    answers.name("org-1", Some("proj_1"));
    answers.name("org-1", Some("proj_2"));
    assert!(!answers.share(), "limits are per project");
    assert_eq!(
        answers.groups(),
        [named("org-1/proj_1"), named("org-1/proj_2")]
    );
    let mut answers = Answers::new(&["a".into(), "b".into()]);
    for _ in 0..2 {
        answers.name("org-1", Some("proj_1"));
    }
    assert!(answers.share());
    let notices = answers.0.keys().take_notices();
    let [KeyNotice::Shared { key, with, .. }] = &notices[..] else {
        panic!("one key shares the limits of another: {notices:?}");
    };
    assert_eq!((&**key, &**with), ("key-2", "key-1"));
    answers.name("org-1", None);
    assert!(answers.share(), "a response may not name the project");
    assert!(answers.0.keys().take_notices().is_empty());
}

#[test]
fn given_group_takes_precedence() {
    let mut answers = Answers::new(&[Key::new("a").group("team"), "b".into()]);
    for _ in 0..2 {
        answers.name("org-1", None);
    }
    let given = Some(("team".into(), GroupSource::Given));
    assert_eq!(answers.groups(), [given, named("org-1")]);
    assert!(!answers.share());
}

#[test]
fn key_follows_the_account_that_it_names_now() {
    let mut answers = Answers::new(&["a".into(), "b".into()]);
    for organization in ["org-1", "org-1", "org-2"] {
        answers.name(organization, None);
    }
    assert_eq!(answers.groups(), [named("org-2"), named("org-1")]);
    assert!(!answers.share());
    answers.name("org-2", None);
    assert!(answers.share());
}

#[test]
fn changing_account_names_are_ignored() {
    let mut answers = Answers::new(&["a".into(), "b".into()]);
    for number in 0..40 {
        answers.name(["org-1", "org-2", "org-3"][number % 3], None);
    }
    assert_eq!(answers.groups(), [None, None]);
    assert!(!answers.share());
}

#[test]
fn limit_of_a_key_closes_all_keys_of_its_account() {
    let mut answers = Answers::new(&["a".into(), "b".into()]);
    let world = &mut answers.0;
    for _ in 0..2 {
        world.take_anyway(&KeyRequest::default(), world.now);
    }
    let rejection = Rejection {
        retry_after: Some(Duration::from_secs(20)),
        ..Rejection::new(Reason::RateLimited)
    };
    let account = NamedAccount::of("org-1", None);
    world.name(1, &account);
    world.answer(1, &Answer::Rejection(rejection, Vec::new()));
    let is_free = |world: &mut World| {
        let request = KeyRequest::default();
        let now = world.now;
        world.keys().reserve(&request, now).is_ok()
    };
    // The request of key 0 was reserved before the pool knew that both keys share a limit.
    world.name(0, &account);
    assert!(!is_free(world), "both are closed");
    world.answer(0, &Answer::Failed);
    world.now += Duration::from_secs(21);
    assert!(is_free(world));
    assert_eq!(world.out(), 1, "the last check reserved a key");
}

#[test]
fn request_in_flight_is_counted_once_on_the_group_of_its_account() {
    let mut answers = Answers::new(&["a".into(), "b".into(), "c".into(), "d".into()]);
    let world = &mut answers.0;
    for label in ["key-2", "key-4"] {
        world.take_anyway(&of(label), world.now);
        world.name(0, &NamedAccount::of("org-1", None));
        world.answer(0, &Answer::Success(Vec::new()));
    }
    world.take_anyway(&of("key-2"), world.now);
    for left in (0..60).rev() {
        world.take_anyway(&KeyRequest::default(), world.now);
        let report = Bucket {
            dimension: Dimension::Requests,
            window: None,
            scope: None,
            limit: Some(60),
            remaining: Some(left),
            reset: Some(WINDOW),
            cost: None,
        };
        world.answer(1, &Answer::Success(vec![report]));
    }
    let groups: Vec<_> = world.keys().entries.iter().map(|it| it.group_id).collect();
    assert!(groups.iter().all(|group| *group == groups[0]), "{groups:?}");
    assert_eq!(world.out(), 1);
    world.answer(0, &Answer::Failed);
    assert_eq!(world.out(), 0);
}

#[test]
fn size_learned_with_one_key_is_forgotten_if_another_shares_its_limit() {
    let mut answers = Answers::new(&["a".into(), "b".into()]);
    let world = &mut answers.0;
    let hint = Rejection {
        retry_after: Some(WINDOW),
        ..Rejection::new(Reason::RateLimited)
    };
    for _ in 0..2 {
        for _ in 0..5 {
            world.take_anyway(&of("key-1"), world.now);
            world.answer(0, &Answer::Success(Vec::new()));
        }
        world.take_anyway(&of("key-1"), world.now);
        world.answer(0, &Answer::Rejection(hint.clone(), Vec::new()));
        world.now += WINDOW;
    }
    let learned = |world: &mut World| {
        let now = world.now;
        let state = KeyState::of(world.keys(), 0, now);
        state.limits.iter().find_map(|limit| limit.limit)
    };
    assert_eq!(learned(world), Some(5));
    for label in ["key-1", "key-2"] {
        world.take_anyway(&of(label), world.now);
        world.name(0, &NamedAccount::of("org-1", None));
        world.answer(0, &Answer::Success(Vec::new()));
    }
    assert_eq!(learned(world), None);
}

fn of(label: &str) -> KeyRequest {
    KeyRequest {
        pinned: Some(label.into()),
        ..KeyRequest::default()
    }
}

#[test]
fn replaced_key_has_no_known_account() {
    let mut answers = Answers::new(&["a".into(), "b".into()]);
    for _ in 0..2 {
        answers.name("org-1", None);
    }
    answers.0.replace(1, "c".into());
    assert_eq!(answers.groups(), [named("org-1"), None]);
    answers.0.remove(0);
    for _ in 0..2 {
        answers.name("org-1", None);
    }
    assert_eq!(answers.groups(), [named("org-1")]);
}
