//! `BackoffLayer` alone, with a key that the caller puts on each request.

use std::time::Duration;

use super::{FOUR, MINUTE, Scenario, four_keys, silent};
use crate::{
    provider::{
        limits::Limit,
        plan::{Headers, Hint, Plan},
    },
    run::Stack,
};

const FIXED: Limit = Limit::Fixed(60, MINUTE);
const BUCKET: Limit = Limit::Bucket(60, MINUTE);
const SECOND: Duration = Duration::from_secs(1);

/// The milliseconds that a single worker takes without siblings, for each seed.
const HINTS: &[u64] = &[
    187_381, 186_631, 184_993, 185_125, 187_677, 188_084, 185_280, 184_149, 187_118, 186_571,
    187_692, 186_695, 186_049, 185_805, 184_398, 185_776, 184_285, 186_655, 188_092, 187_337,
];
const SILENT: &[u64] = &[
    185_178, 182_726, 191_341, 183_386, 183_616, 186_166, 183_062, 183_469, 188_061, 182_975,
    187_744, 182_723, 187_178, 186_962, 185_226, 183_540, 186_630, 185_503, 183_178, 188_298,
];

pub(super) fn all() -> Vec<Scenario> {
    let hinted = |limit| Plan::new(limit, Headers::Never, Hint::Exact);
    let headers = Plan::new(FIXED, Headers::Always, Hint::Exact);
    let five = Limit::Fixed(5, SECOND);
    let whole = Plan::new(Limit::Bucket(5, SECOND), Headers::Never, Hint::WholeSeconds);
    vec![
        herd("fixed, headers", headers, (1.05, 30)),
        herd("fixed, hints", hinted(FIXED), (1.05, 30)),
        herd("fixed, silent", silent(FIXED), (1.05, 30)),
        herd("bucket, hints", hinted(BUCKET), (1.05, 60)),
        herd("bucket, silent", silent(BUCKET), (1.05, 30)),
        herd("5 a second, silent", silent(five), (1.25, 30)),
        herd("5 a second, bucket, seconds", whole, (1.25, 60)),
        alone("1 worker, hints", hinted(FIXED), HINTS),
        alone("1 worker, silent", silent(FIXED), SILENT),
    ]
}

fn herd(name: &str, plan: Plan, bar: (f64, usize)) -> Scenario {
    let mut scenario = four_keys(format!("B {name}"), plan, 240, bar);
    scenario.stack = Stack::Backoff;
    scenario.setup.keys = &FOUR[..1];
    scenario
}

/// One worker, whose calls have no siblings. The times must not change, because siblings must not slow a single call.
fn alone(name: &str, plan: Plan, exact: &'static [u64]) -> Scenario {
    let mut scenario = herd(name, plan, (f64::INFINITY, usize::MAX));
    scenario.workers = 1;
    scenario.bar.failed = usize::MAX;
    scenario.bar.exact = exact;
    scenario
}
