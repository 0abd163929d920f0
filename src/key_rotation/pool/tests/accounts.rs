//! Keys of one account, which a modelled provider names or not, and keys of accounts of their own.

use std::{collections::HashMap, time::Duration};

use proptest::prelude::*;
use tokio::time::Instant;

use super::world::{Answer, World};
use crate::{
    key_rotation::{
        Key,
        pool::{GroupSource, choice::KeyRequest, keys::Order},
    },
    quota::Priority,
    rejection::{Bucket, Dimension, Reason, Rejection},
};

const WINDOW: Duration = Duration::from_secs(60);

const ORDERS: [Order; 3] = [Order::FillFirst, Order::RoundRobin, Order::LeastLoaded];

/// What is counted where, and by whom.
#[derive(Clone, Copy)]
struct Scenario {
    order: Order,
    seed: u64,
    /// The account of each key.
    accounts: [usize; 4],
    limit: u64,
    /// How many requests others send with each account, for each of ours.
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
        }])
    }

    fn run(self) -> Result {
        let keys = ["1", "2", "3", "4"].map(Key::new);
        let mut world = World::new(self.order, Duration::from_secs(60), &keys);
        let mut random = fastrand::Rng::with_seed(self.seed);
        let start = world.now;
        let (mut flights, mut counts) = (Vec::new(), HashMap::new());
        let (mut wasted, mut left, mut unsent, mut joined) = (0, self.calls, self.calls, 0);
        let request = KeyRequest::default();
        let start_call = |world: &mut World, priority| {
            let is_first = priority == Priority::New;
            if !is_first || !world.take_in_turn(&request, world.now) {
                world.join(request.clone(), priority);
            }
        };
        for _ in 0..self.workers.min(self.calls) {
            unsent -= 1;
            start_call(&mut world, Priority::New);
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
                world.now = alarm.expect("somebody waits for something").max(world.now);
                continue;
            };
            world.now = world.now.max(flights[index].at());
            if let Flight::ArrivesAt(at) = flights[index] {
                let number = world.held[index].candidate.id().number();
                let answer = self.answer(number, &mut counts, at - start);
                if random.f64() < self.others {
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
            world.answer(index, &answer);
            joined += world.keys().take_shared().len();
            match answer {
                Answer::Success(_) => {
                    left -= 1;
                    if unsent > 0 {
                        unsent -= 1;
                        start_call(&mut world, Priority::New);
                    }
                }
                _ => {
                    wasted += 1;
                    start_call(&mut world, Priority::Again);
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
fn keys_of_one_account_are_found_by_their_counts() {
    for order in ORDERS {
        for seed in 0..20 {
            let scenario = Scenario {
                order,
                seed,
                accounts: [0; 4],
                limit: 60,
                others: 0.0,
                workers: 64,
                calls: 240,
                slowest: Duration::from_millis(500),
            };
            let result = scenario.run();
            println!(
                "{order:?} {seed}: {} wasted, {} groups, {:?}",
                result.wasted, result.groups, result.took
            );
        }
    }
}

#[test]
fn keys_of_separate_accounts_are_never_taken_for_one() {
    for order in ORDERS {
        for (others, slowest) in [(0.0, 500), (0.5, 500), (1.0, 500), (0.5, 20_000)] {
            let mut joined = 0;
            for seed in 0..50 {
                let scenario = Scenario {
                    order,
                    seed,
                    accounts: [0, 1, 2, 3],
                    limit: 60,
                    others,
                    workers: 64,
                    calls: 600,
                    slowest: Duration::from_millis(slowest),
                };
                let result = scenario.run();
                joined += result.joined;
            }
            println!("{order:?} {others} {slowest}: {joined}");
        }
    }
}
