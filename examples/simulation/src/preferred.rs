//! How well a stack uses a preferred model beside a fallback model with ample quota.

use std::time::Duration;

use http::StatusCode;

use crate::{run::Run, scenarios::Scenario};

/// How a run used the preferred model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Preferred {
    /// The share of the calls that it served.
    pub(crate) share: f64,
    /// Its errors per second in which calls began.
    pub(crate) rejected: f64,
    /// The requests that it got during its outage.
    pub(crate) into_outage: usize,
    /// The seconds from the end of its outage until a second begins in which it serves nine of ten calls.
    pub(crate) back: f64,
}

/// Nine of ten calls count as all, because some calls of a second are still in flight.
const MOST: f64 = 0.9;

impl Preferred {
    pub(crate) fn of(run: &Run, scenario: &Scenario) -> Self {
        let name = scenario.plan.models.first().map_or("", |(name, _)| name);
        let entries: Vec<_> = run
            .log
            .iter()
            .filter(|entry| &*entry.model == name)
            .collect();
        let is_answered = |status: StatusCode| status == StatusCode::OK;
        let mut answered: Vec<Duration> = entries
            .iter()
            .filter(|entry| is_answered(entry.status))
            .map(|entry| entry.at)
            .collect();
        answered.sort();
        let rejected = (entries.len() - answered.len()) as f64;
        let calls = scenario.calls as f64;
        let mut preferred = Self {
            share: answered.len() as f64 / calls,
            rejected: rejected / (calls * scenario.apart.as_secs_f64()),
            into_outage: 0,
            back: 0.0,
        };
        if let Some(outage) = &scenario.plan.outage {
            let into = entries
                .iter()
                .filter(|entry| outage.during.contains(&entry.at));
            preferred.into_outage = into.count();
            let second = Duration::from_secs(1);
            let wanted = MOST / scenario.apart.as_secs_f64();
            answered.retain(|at| *at >= outage.during.end);
            let is_back = |(index, at): &(usize, &Duration)| {
                let next = answered[*index..].partition_point(|other| *other < **at + second);
                next as f64 >= wanted
            };
            let back = answered.iter().enumerate().find(is_back);
            let back = back.map(|(_, at)| *at - outage.during.end);
            preferred.back = back.map_or(f64::INFINITY, |back| back.as_secs_f64());
        }
        preferred
    }
}
