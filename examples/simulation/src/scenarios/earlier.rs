//! Providers that report what is left, with a minute scaled to six seconds. The guesses of the layers are not scaled.

use std::time::Duration;

use super::{FOUR, MINUTE, Scenario, silent, tokens};
use crate::{
    orders,
    provider::{
        limits::Limit,
        plan::{Accidents, Headers, Hint, Plan},
    },
    run::Stack,
};

/// Six seconds stand for a minute.
pub(crate) const WINDOW: Duration = Duration::from_secs(6);

const SHARED: &[(&str, &str)] = &[("a", "org"), ("sibling", "org"), ("b", "b")];
pub(super) const FIXED: Limit = Limit::Fixed(50, WINDOW);

/// Builds a scenario with the settings that most scenarios have.
pub(super) fn four_keys(
    name: impl Into<String>,
    limit: Limit,
    headers: Headers,
    bar: (f64, usize),
) -> Scenario {
    let plan = Plan::new(limit, headers, Hint::Exact);
    let mut scenario = super::four_keys(name, plan, 800, bar);
    scenario.setup.delay = WINDOW / 4;
    scenario
}

pub(super) fn all() -> Vec<Scenario> {
    let sliding = Limit::Sliding(50, WINDOW);
    let bucket = Limit::Bucket(50, WINDOW);
    let mut scenarios = vec![
        headers_always(),
        four_keys("headers on 429s", FIXED, Headers::OnRejections, (1.08, 80)),
        herd(),
        dead_keys(),
        shared_limit(),
        model_fallback(),
        service_recipe(),
        batch_recipe(),
        slow_answers(),
        four_keys("sliding, headers", sliding, Headers::Always, (1.06, 8)),
        four_keys("bucket, headers", bucket, Headers::Always, (1.06, 8)),
    ];
    // Wrong headers must not be worse than no headers.
    let lies = [
        ("lie: too much left", Headers::TooMuchLeft),
        ("lie: too little left", Headers::TooLittleLeft),
        ("lie: nothing left", Headers::NothingLeft),
        ("lie: nothing for 0.3 s", Headers::NothingForAMoment),
        ("lie: reset in the past", Headers::PastReset),
    ];
    let lying = lies.map(|(name, headers)| four_keys(name, FIXED, headers, (1.08, 100)));
    scenarios.extend(lying);
    scenarios.extend([accidents(), sessions(), unnamed_sessions()]);
    scenarios
}

/// Returns the scenarios that also run over real HTTP. They are few, because real time is slow.
pub(crate) fn over_loopback() -> Vec<Scenario> {
    vec![
        headers_always(),
        model_fallback(),
        service_recipe(),
        batch_recipe(),
        tokens::over_loopback(),
    ]
}

fn headers_always() -> Scenario {
    four_keys("headers on every answer", FIXED, Headers::Always, (1.05, 4))
}

/// One request in twenty is rejected at random, without a hint, in unscaled time.
fn accidents() -> Scenario {
    let limit = Limit::Bucket(100_000, MINUTE);
    let scenario = super::four_keys("5 % of 429s at random", silent(limit), 0, (1.05, 150));
    let mut scenario = super::steady(scenario);
    scenario.plan.accidents = Some(Accidents {
        percent: 5,
        status: 429,
    });
    scenario.bar.p99 = Duration::from_millis(1_500);
    scenario
}

/// Conversations whose prompts are cached per key. A request with the same key as the last one takes a quarter of the
/// time.
fn sessions() -> Scenario {
    let mut scenario = four_keys("48 sessions, cached", FIXED, Headers::Always, (1.20, 8));
    (scenario.sessions, scenario.workers) = (48, 48);
    let thinks = Duration::from_millis(1_200);
    scenario.plan.thinks = (thinks, thinks);
    scenario.plan.thinks_warm = Some(Duration::from_millis(300));
    scenario
}

/// The same without session names, to measure the effect of the names.
fn unnamed_sessions() -> Scenario {
    let mut scenario = sessions();
    scenario.name = "48 sessions, unnamed".into();
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
            calls => Err(format!("the sibling of a limited key got {calls} requests")),
        }
    });
    scenario
}

/// Responses that take longer than a window, as those of reasoning models.
///
/// The first window gets too many requests, because no response has reported a limit yet.
fn slow_answers() -> Scenario {
    let mut scenario = four_keys("slow answers, headers", FIXED, Headers::Always, (1.20, 80));
    scenario.plan.thinks = (WINDOW * 5 / 4, WINDOW * 5 / 4);
    scenario.workers = 800;
    scenario
}

/// A preferred model with little quota and a fallback model with ample quota, with one key. The orders use it too.
pub(crate) fn model_fallback() -> Scenario {
    let mut scenario = four_keys("fallback to a model", FIXED, Headers::Always, (1.05, 10));
    scenario.stack = Stack::Ordered(orders::RECOMMENDED);
    scenario.by_hand = None;
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

/// The stack of `examples/service.rs`, in the scenario of two models.
fn service_recipe() -> Scenario {
    let mut scenario = model_fallback();
    scenario.name = "recipe: service".into();
    scenario.stack = Stack::ServiceRecipe;
    scenario
}

/// The stack of `examples/batch.rs`, in the scenario of four keys.
fn batch_recipe() -> Scenario {
    let mut scenario = four_keys("recipe: batch", FIXED, Headers::Always, (1.02, 4));
    scenario.stack = Stack::BatchRecipe;
    scenario.by_hand = None;
    scenario
}
