//! A preferred model that sometimes fails, beside a fallback model with ample quota.

use std::time::Duration;

use super::{FOUR, MINUTE, Scenario, four_keys, silent, steady};
use crate::{
    bar::{Bar, PreferredBar},
    orders::{
        Order,
        Part::{Backoff, Fallback, KeyRotation},
        Waits,
    },
    provider::{
        limits::Limit,
        plan::{Accidents, Outage, Plan},
    },
    run::Stack,
};

/// `K.w` waits for a key for only a second, so that a call does not stay with a limited model.
const STACKS: [(&str, Order); 5] = [
    ("F", Order(&[Fallback], Waits::Neither)),
    ("B > F", Order(&[Backoff, Fallback], Waits::Neither)),
    ("F.w > K.w", Order(&[Fallback, KeyRotation], Waits::Briefly)),
    ("F > B", Order(&[Fallback, Backoff], Waits::Neither)),
    (
        "F > B > K",
        Order(&[Fallback, Backoff, KeyRotation], Waits::Neither),
    ),
];

const AMPLE: Limit = Limit::Bucket(100_000, MINUTE);
const SECOND: Duration = Duration::from_secs(1);

/// The longest time of most calls if few requests are rejected.
const FEW_REJECTED: Duration = Duration::from_millis(800);

/// The name of a problem of the preferred model, and the scenario with this problem.
type Trouble = (&'static str, fn(String) -> Scenario);

const TROUBLES: [Trouble; 6] = [
    ("5 % 529", |name| accidents(name, 529, 5, 0.92)),
    ("5 % 429", |name| accidents(name, 429, 5, 0.92)),
    ("20 % 503", |name| accidents(name, 503, 20, 0.70)),
    ("20 a second", unreported),
    ("outage, 503", |name| outage(name, 503)),
    ("outage, 529", |name| outage(name, 529)),
];

pub(super) fn all() -> Vec<Scenario> {
    let of_trouble = |(trouble, scenario): Trouble| {
        let rows = STACKS.map(|(stack, order)| {
            let mut row = scenario(format!("{trouble}: {stack}"));
            row.stack = Stack::Ordered(order);
            row.by_hand = None;
            row
        });
        let mut rows = Vec::from(rows);
        if let [first, ..] = &mut *rows {
            first.by_hand = Some(Stack::ByHandFallback);
        }
        rows
    };
    TROUBLES.into_iter().flat_map(of_trouble).collect()
}

fn accidents(name: String, status: u16, percent: u32, share: f64) -> Scenario {
    let mut plan = silent(AMPLE);
    plan.accidents = Some(Accidents { percent, status });
    let bar = PreferredBar {
        share,
        ..PreferredBar::NONE
    };
    let mut scenario = preferred(name, plan, bar);
    if percent == 5 {
        scenario.bar.p99 = FEW_REJECTED;
    }
    scenario
}

/// The preferred model accepts 20 requests per second, and never reports that.
fn unreported(name: String) -> Scenario {
    let bar = PreferredBar {
        share: 0.60,
        rejected: 2.0,
        ..PreferredBar::NONE
    };
    preferred(name, silent(Limit::Fixed(20, SECOND)), bar)
}

/// The preferred model is down from second 10 to second 15.
fn outage(name: String, status: u16) -> Scenario {
    let mut plan = silent(AMPLE);
    plan.outage = Some(Outage {
        during: SECOND * 10..SECOND * 15,
        status,
    });
    let bar = PreferredBar {
        into_outage: 25,
        back: SECOND * 2,
        ..PreferredBar::NONE
    };
    preferred(name, plan, bar)
}

fn preferred(name: String, mut plan: Plan, bar: PreferredBar) -> Scenario {
    plan.models.push(("small", AMPLE));
    let mut scenario = steady(four_keys(name, plan, 0, (f64::INFINITY, usize::MAX)));
    scenario.setup.keys = &FOUR[..1];
    scenario.setup.fallback = Some("small");
    scenario.bar = Bar {
        p99: SECOND,
        preferred: Some(bar),
        ..Bar::NONE
    };
    scenario
}
