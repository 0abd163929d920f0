//! What is simulated, and what is expected of this crate's stack.

use std::time::Duration;

use crate::{
    limits::Limit,
    orders,
    provider::{Headers, Plan, ROUND_TRIP},
    run::{Run, Stack},
    stacks::Setup,
};

/// Six seconds stand for a minute.
pub(crate) const WINDOW: Duration = Duration::from_secs(6);

/// A minute where nothing is scaled: the stack's own default.
const MINUTE: Duration = Duration::from_secs(60);

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) plan: Plan,
    pub(crate) setup: Setup,
    /// This crate's stack.
    pub(crate) stack: Stack,
    pub(crate) calls: usize,
    /// How many sessions the calls belong to; none if zero.
    pub(crate) sessions: usize,
    /// Whether the stack knows the sessions.
    pub(crate) names_sessions: bool,
    /// How many calls there are at once.
    pub(crate) workers: usize,
    /// How long after a call the next comes; zero if it comes as soon as a worker is free.
    pub(crate) apart: Duration,
    pub(crate) bar: Bar,
}

/// What else must be true of a run, and what is wrong if it is not.
type Check = fn(&Run) -> Result<(), String>;

/// The worst that passes.
#[derive(Clone, Copy)]
pub(crate) struct Bar {
    /// The time that all calls take, over the least that the limits allow.
    pub(crate) over_ideal: f64,
    /// 429s of limits.
    pub(crate) wasted: usize,
    /// Calls with keys that can never work.
    pub(crate) dead: usize,
    pub(crate) also: Option<Check>,
}

const FOUR: &[(&str, &str)] = &[("a", "a"), ("b", "b"), ("c", "c"), ("d", "d")];
const SHARED: &[(&str, &str)] = &[("a", "org"), ("sibling", "org"), ("b", "b")];
const FIXED: Limit = Limit::Fixed(50, WINDOW);

/// What is the same in most scenarios.
fn four_keys(name: &'static str, limit: Limit, headers: Headers, bar: (f64, usize)) -> Scenario {
    Scenario {
        name,
        plan: Plan {
            models: vec![("large", limit)],
            headers,
            shared: Vec::new(),
            rejected: None,
            out_of_quota: None,
            thinks: Duration::ZERO,
            thinks_warm: Duration::ZERO,
            accidents: 0,
        },
        setup: Setup {
            keys: FOUR,
            fallback: None,
            minute: WINDOW,
            delay: WINDOW / 4,
        },
        stack: Stack::Ours,
        calls: 800,
        sessions: 0,
        names_sessions: true,
        workers: 64,
        apart: Duration::ZERO,
        bar: Bar {
            over_ideal: bar.0,
            wasted: bar.1,
            dead: 0,
            also: None,
        },
    }
}

pub(crate) fn all() -> Vec<Scenario> {
    let sliding = Limit::Sliding(50, WINDOW);
    let bucket = Limit::Bucket(50, WINDOW);
    let mut scenarios = vec![
        headers_always(),
        four_keys("no headers at all", FIXED, Headers::Never, (1.20, 100)),
        four_keys("headers on 429s", FIXED, Headers::OnRejections, (1.08, 80)),
        herd(),
        dead_keys(),
        shared_limit(),
        model_fallback(),
        slow_answers(),
        four_keys("sliding, headers", sliding, Headers::Always, (1.06, 8)),
        four_keys("bucket, headers", bucket, Headers::Always, (1.06, 8)),
    ];
    // Without headers what counts is that everybody is served in the end.
    let unbounded = usize::MAX;
    scenarios.extend([
        four_keys(
            "sliding, no headers",
            sliding,
            Headers::Never,
            (1.5, unbounded),
        ),
        four_keys(
            "bucket, no headers",
            bucket,
            Headers::Never,
            (1.5, unbounded),
        ),
    ]);
    // Not worse than without headers.
    let lies = [
        ("lie: too much left", Headers::TooMuchLeft),
        ("lie: too little left", Headers::TooLittleLeft),
        ("lie: nothing left", Headers::NothingLeft),
        ("lie: nothing for 0.3 s", Headers::NothingForAMoment),
        ("lie: reset in the past", Headers::PastReset),
    ];
    let lying = lies.map(|(name, headers)| four_keys(name, FIXED, headers, (1.08, 100)));
    scenarios.extend(lying);
    let second = Duration::from_secs(1);
    scenarios.extend([
        by_the_second("5 a second, untold", Limit::Fixed(5, second)),
        by_the_second("bucket of 5, untold", Limit::Bucket(5, second)),
        accidents(),
        sessions(),
        unnamed_sessions(),
    ]);
    scenarios
}

/// What runs over real HTTP too, which takes its time.
pub(crate) fn over_loopback() -> Vec<Scenario> {
    vec![headers_always(), model_fallback()]
}

fn headers_always() -> Scenario {
    four_keys("headers on every answer", FIXED, Headers::Always, (1.05, 4))
}

/// A limit per second that the provider never mentions, in unscaled time.
fn by_the_second(name: &'static str, limit: Limit) -> Scenario {
    let mut scenario = four_keys(name, limit, Headers::Never, (1.20, usize::MAX));
    (scenario.setup.minute, scenario.setup.delay) = (MINUTE, Duration::from_secs(1));
    scenario.calls = 400;
    scenario
}

/// One request in twenty is refused at random, without a hint, in unscaled time.
fn accidents() -> Scenario {
    let limit = Limit::Bucket(100_000, MINUTE);
    let mut scenario = four_keys("5 % of 429s at random", limit, Headers::Never, (1.05, 150));
    (scenario.setup.minute, scenario.setup.delay) = (MINUTE, Duration::from_secs(1));
    scenario.plan.accidents = 5;
    scenario.plan.thinks = Duration::from_millis(300);
    scenario.plan.thinks_warm = Duration::from_millis(300);
    // 30 a second for a minute, however many are under way.
    (scenario.calls, scenario.workers) = (1_800, 1_800);
    scenario.apart = MINUTE / 1_800;
    scenario.bar.also = Some(|run| match run.percentile(99) {
        wait if wait <= Duration::from_millis(1_500) => Ok(()),
        wait => Err(format!("one call in a hundred took {wait:?}")),
    });
    scenario
}

/// Conversations whose prompts are cached per key: a request with the key of the last one is answered in a
/// quarter of the time.
fn sessions() -> Scenario {
    let mut scenario = four_keys("48 sessions, cached", FIXED, Headers::Always, (1.20, 8));
    (scenario.sessions, scenario.workers) = (48, 48);
    scenario.plan.thinks = Duration::from_millis(1_200);
    scenario.plan.thinks_warm = Duration::from_millis(300);
    scenario
}

/// The same without a name for the sessions: what the name buys.
fn unnamed_sessions() -> Scenario {
    let mut scenario = sessions();
    scenario.name = "48 sessions, unnamed";
    scenario.names_sessions = false;
    scenario.bar.over_ideal = 1.5;
    scenario
}

fn herd() -> Scenario {
    let mut scenario = four_keys("herd of 300, one key", FIXED, Headers::Always, (1.05, 8));
    scenario.setup.keys = &FOUR[..1];
    (scenario.calls, scenario.workers) = (300, 300);
    scenario
}

fn dead_keys() -> Scenario {
    let mut scenario = four_keys("two of four keys dead", FIXED, Headers::Always, (1.05, 4));
    (scenario.plan.rejected, scenario.plan.out_of_quota) = (Some("a"), Some("c"));
    (scenario.calls, scenario.workers) = (400, 32);
    scenario.bar.dead = 4;
    scenario
}

fn shared_limit() -> Scenario {
    let mut scenario = four_keys(
        "two keys of one group",
        FIXED,
        Headers::OnRejections,
        (1.08, 80),
    );
    scenario.plan.shared = vec![("sibling", "a")];
    scenario.setup.keys = SHARED;
    (scenario.calls, scenario.workers) = (400, 32);
    scenario.bar.also = Some(|run| {
        let of_sibling = run.log.iter().filter(|entry| &*entry.key == "sibling");
        match of_sibling.filter(|entry| entry.status == 429).count() {
            0 => Ok(()),
            calls => Err(format!(
                "the sibling of a limited key was asked {calls} times"
            )),
        }
    });
    scenario
}

/// Answers that take longer than a window, as those of models that think.
///
/// Nothing is known until the first comes, so what is too much for the first window is refused.
fn slow_answers() -> Scenario {
    let mut scenario = four_keys("slow answers, headers", FIXED, Headers::Always, (1.20, 80));
    scenario.plan.thinks = WINDOW * 5 / 4;
    scenario.plan.thinks_warm = WINDOW * 5 / 4;
    scenario.workers = 800;
    scenario
}

/// A small preferred model and an ample one, with one key: the scenario of the orders too.
pub(crate) fn model_fallback() -> Scenario {
    let mut scenario = four_keys("fallback to a model", FIXED, Headers::Always, (1.05, 10));
    scenario.stack = Stack::Ordered(orders::RECOMMENDED);
    scenario.plan.models = vec![
        ("large", Limit::Fixed(20, WINDOW)),
        ("small", Limit::Fixed(200, WINDOW)),
    ];
    scenario.setup.keys = &FOUR[..1];
    scenario.setup.fallback = Some("small");
    (scenario.calls, scenario.workers) = (300, 32);
    scenario.bar.also = Some(|run| {
        let served = |window: u32| {
            let ended = |at: Duration| at < WINDOW * (window + 1) && at >= WINDOW * window;
            let served = run.log.iter().filter(|entry| entry.status == 200);
            let of_large = served.filter(|entry| &*entry.model == "large");
            of_large.filter(|entry| ended(entry.at)).count()
        };
        match (served(0), served(1)) {
            (20, 20) => Ok(()),
            (first, second) => Err(format!(
                "the preferred model served {first} and {second} of 20 in the two windows"
            )),
        }
    });
    scenario
}

// === impl Scenario ===

impl Scenario {
    /// The least time that the limits and the way to the provider allow.
    pub(crate) fn ideal(&self) -> Duration {
        let is_live =
            |key: &&str| ![self.plan.rejected, self.plan.out_of_quota].contains(&Some(key));
        let mut accounts: Vec<&str> = self
            .setup
            .keys
            .iter()
            .filter(|(key, _)| is_live(key))
            .map(|(_, group)| *group)
            .collect();
        accounts.dedup();
        let limits = self.plan.models.iter().map(|(_, limit)| *limit);
        let size: u32 = limits.clone().map(Limit::size).sum();
        let per_window = size as usize * accounts.len();
        let calls = self.calls as f64 / per_window as f64 * f64::from(size);
        let limit = match limits.clone().next() {
            Some(Limit::Fixed(_, window)) => Limit::Fixed(size, window),
            Some(Limit::Sliding(_, window)) => Limit::Sliding(size, window),
            Some(Limit::Bucket(_, window)) => Limit::Bucket(size, window),
            None => return Duration::ZERO,
        };
        // What the last window is left with goes out in rounds of as many as there are workers.
        let last = match (limit, self.calls % per_window) {
            (Limit::Bucket(..), _) => 1,
            (_, 0) => per_window,
            (_, rest) => rest,
        };
        let rounds = u32::try_from(last.div_ceil(self.workers)).unwrap_or(u32::MAX);
        let round = ROUND_TRIP + self.plan.thinks;
        let limited = Duration::from_secs_f64(limit.least_time(calls)) + round * rounds;
        let last = u32::try_from(self.calls.saturating_sub(1)).unwrap_or(u32::MAX);
        limited.max(self.apart * last + round)
    }
}
