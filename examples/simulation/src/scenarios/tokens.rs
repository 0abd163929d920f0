//! Limits in tokens, alone and beside a limit in requests. Six seconds stand for a minute, unless a comment says
//! otherwise.

use std::time::Duration;

use tower_429::Cost;

use super::{FOUR, MINUTE, Scenario, WINDOW};
use crate::{
    orders::{Order, Part, Waits},
    provider::{
        ROUND_TRIP,
        limits::Limit,
        meters::Unit,
        plan::{HeaderStyle, Headers, Hint, Plan},
    },
    run::Stack,
    work::{Draw, Work, log_uniform},
};

/// A limit in requests that no scenario reaches.
const AMPLE: Limit = Limit::Bucket(100_000, MINUTE);
pub(super) const FIXED: Limit = Limit::Fixed(100_000, WINDOW);
pub(super) const BUCKET: Limit = Limit::Bucket(100_000, WINDOW);

pub(super) fn all() -> Vec<Scenario> {
    let mut scenarios = vec![on_every_answer()];
    let bucket = plan(BUCKET, Headers::Always);
    scenarios.push(mixed("bucket, headers", bucket, (1.05, 16)));
    for (kind, limit) in [("fixed", FIXED), ("bucket", BUCKET)] {
        let hinted = plan(limit, Headers::OnRejections);
        let name = format!("{kind}, on 429s");
        scenarios.push(mixed(&name, hinted, (1.08, 60)));
        let mut silent = plan(limit, Headers::Never);
        silent.hint = Hint::None;
        scenarios.push(mixed(&format!("{kind}, silent"), silent, (1.15, 70)));
    }
    scenarios.extend([both("fixed", Limit::Fixed), both("bucket", Limit::Bucket)]);
    scenarios.extend([twice_the_estimate(), half_the_estimate()]);
    scenarios.extend([apart(), embeddings()]);
    scenarios.extend([
        large_among_small("fixed", FIXED),
        large_among_small("bucket", BUCKET),
    ]);
    scenarios.extend([
        two_models(Headers::Always),
        two_models(Headers::OnRejections),
    ]);
    scenarios
}

/// Returns the first scenario with fewer calls, because real HTTP is slow.
pub(super) fn over_loopback() -> Scenario {
    let mut scenario = on_every_answer();
    scenario.calls = 200;
    scenario
}

/// Fixed windows that every response reports.
fn on_every_answer() -> Scenario {
    let mut scenario = mixed("fixed, headers", plan(FIXED, Headers::Always), (1.02, 4));
    scenario.bar.unused = 0.03;
    scenario
}

/// Returns a provider that limits tokens only.
pub(super) fn plan(limit: Limit, headers: Headers) -> Plan {
    let mut plan = Plan::new(AMPLE, headers, Hint::Exact);
    plan.tokens = vec![(Unit::Tokens, limit)];
    plan
}

fn tokens(name: &str, plan: Plan, calls: usize, draw: Draw, bar: (f64, usize)) -> Scenario {
    let mut scenario = super::four_keys(format!("tokens: {name}"), plan, calls, bar);
    scenario.setup.delay = WINDOW / 4;
    scenario.draw = Some(draw);
    scenario
}

/// 400 calls of 200 to 20,000 tokens.
pub(super) fn mixed(name: &str, plan: Plan, bar: (f64, usize)) -> Scenario {
    let draw: Draw = |random, _| {
        let total = log_uniform(random, (200.0, 20_000.0));
        Work::reserving(random, total as u64)
    };
    tokens(name, plan, 400, draw, bar)
}

/// A limit in requests and one in tokens, which are used up at about the same time.
fn both(kind: &str, limit: fn(u32, Duration) -> Limit) -> Scenario {
    let mut plan = Plan::new(limit(60, WINDOW), Headers::Always, Hint::Exact);
    plan.tokens = vec![(Unit::Tokens, limit(60_000, WINDOW))];
    let draw: Draw = |random, _| {
        let total = log_uniform(random, (50.0, 8_000.0));
        Work::reserving(random, total as u64)
    };
    let name = format!("and requests, {kind}");
    tokens(&name, plan, 500, draw, (1.05, 8))
}

/// Text such as Chinese, which here has two bytes per token. The calls have a tenth of the tokens, all in the prompt.
fn twice_the_estimate() -> Scenario {
    let draw: Draw = |random, _| {
        let mut work = prompt(random);
        work.text /= 2;
        work
    };
    estimated("twice the estimate", draw)
}

/// Images as text, which cost half as much as the same number of bytes of words.
fn half_the_estimate() -> Scenario {
    let draw: Draw = |random, _| {
        let mut work = prompt(random);
        work.text *= 2;
        work
    };
    estimated("half the estimate", draw)
}

fn estimated(name: &str, draw: Draw) -> Scenario {
    let plan = plan(Limit::Fixed(10_000, WINDOW), Headers::Always);
    tokens(name, plan, 400, draw, (1.06, 20))
}

/// Draws a tenth of the tokens of a mixed call, all of them in the prompt.
fn prompt(random: &mut fastrand::Rng) -> Work {
    let input = log_uniform(random, (20.0, 2_000.0));
    Work {
        max_tokens: Some(1),
        ..Work::prompt(random, input as u64)
    }
}

/// Anthropic's limits for a minute, at a fifth of the least tier.
///
/// A request reserves one to three times the tokens of its response. The provider counts those tokens when it generates
/// them.
fn apart() -> Scenario {
    let mut plan = Plan::new(AMPLE, Headers::Always, Hint::WholeSeconds);
    plan.style = HeaderStyle::Anthropic;
    plan.tokens = vec![
        (Unit::InputTokens, Limit::Bucket(10_000, MINUTE)),
        (Unit::OutputTokens, Limit::Bucket(4_000, MINUTE)),
    ];
    let draw: Draw = |random, _| {
        let work = prompt(random);
        let output = log_uniform(random, (20.0, 400.0)) as u64;
        Work {
            cost: Cost::new(work.cost.input(), output),
            max_tokens: Some(output * random.u64(100..=300) / 100),
            // 200 tokens a second.
            answer: Duration::from_millis(5 * output),
            ..work
        }
    };
    tokens("input and output apart", plan, 400, draw, (1.10, 16))
}

/// A tenth of a limit of a million tokens per minute, for calls with a tenth of 13,558 tokens each.
fn embeddings() -> Scenario {
    let plan = plan(Limit::Bucket(100_000, MINUTE), Headers::Always);
    let draw: Draw = |random, _| Work {
        is_embedding: true,
        ..Work::prompt(random, 1_356)
    };
    let mut scenario = tokens("embeddings", plan, 2_000, draw, (1.03, 16));
    scenario.setup.keys = &FOUR[..1];
    scenario
}

/// One call in twenty takes half of a window.
fn large_among_small(kind: &str, limit: Limit) -> Scenario {
    let draw: Draw = |random, number| {
        let total = match number % 20 {
            10 => 50_000.0,
            _ => log_uniform(random, (200.0, 2_000.0)),
        };
        Work::reserving(random, total as u64)
    };
    let name = format!("large, {kind}");
    let plan = plan(limit, Headers::Always);
    let mut scenario = tokens(&name, plan, 400, draw, (1.08, 16));
    scenario.bar.longest_of_large = WINDOW * 2 + ROUND_TRIP;
    scenario
}

/// One key, and a limit for each of two models, which are the targets of Fallback.
fn two_models(headers: Headers) -> Scenario {
    let (name, bar) = match headers {
        Headers::Always => ("F.w, fixed, headers", (1.02, 4)),
        _ => ("F.w, fixed, on 429s", (1.08, 60)),
    };
    let mut scenario = mixed(name, plan(FIXED, headers), bar);
    scenario.plan.models.push(("small", AMPLE));
    scenario.setup.keys = &FOUR[..1];
    scenario.setup.fallback = Some("small");
    scenario.stack = Stack::Ordered(Order(&[Part::Fallback], Waits::Fallback));
    scenario.by_hand = Some(Stack::ByHandFallback);
    scenario.calls = 200;
    if headers == Headers::Always {
        scenario.bar.unused = 0.03;
    }
    scenario
}
