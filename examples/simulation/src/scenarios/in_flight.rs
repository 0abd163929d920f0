//! Limits in requests in flight, for responses that take 0.2 to 0.8 s.

use std::time::Duration;

use super::{MINUTE, Scenario, WINDOW, four_keys};
use crate::{
    provider::{
        limits::Limit,
        plan::{Headers, Hint, InFlight, Plan, Says},
    },
    work::{Draw, Work},
};

/// A limit in requests that no scenario reaches.
const AMPLE: Limit = Limit::Bucket(100_000, MINUTE);

pub(super) fn all() -> Vec<Scenario> {
    let second = plan(5, Says::LimitAndSecond);
    let mut streamed = second.clone();
    streamed.streams = true;
    // The limit in requests in flight alone would admit 54 in a window.
    let mut and_window = Plan::new(Limit::Fixed(40, WINDOW), Headers::Always, Hint::Exact);
    and_window.in_flight = plan(5, Says::LimitAndSecond).in_flight;
    vec![
        scenario("5, with a second", second, (1.10, 24)),
        scenario("5, in words", plan(5, Says::Words), (1.10, 24)),
        scenario("5, streamed", streamed, (1.10, 24)),
        scenario(
            "1, with a second",
            plan(1, Says::LimitAndSecond),
            (1.10, 12),
        ),
        scenario("1, in words", plan(1, Says::Words), (1.10, 12)),
        scenario("5, silent", plan(5, Says::Nothing), (1.5, 80)),
        scenario("5, and 40 in 6 s", and_window, (1.10, 30)),
    ]
}

/// Returns a provider that limits requests in flight only.
fn plan(at_once: usize, says: Says) -> Plan {
    let mut plan = Plan::new(AMPLE, Headers::Never, Hint::None);
    plan.in_flight = Some(InFlight { at_once, says });
    plan
}

fn scenario(name: &str, plan: Plan, bar: (f64, usize)) -> Scenario {
    let draw: Draw = |random, _| Work {
        answer: Duration::from_millis(random.u64(200..=800)),
        ..Work::reserving(random, 1_000)
    };
    let mut scenario = four_keys(format!("in flight: {name}"), plan, 400, bar);
    scenario.draw = Some(draw);
    scenario
}
