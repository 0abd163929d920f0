//! A server whose clock jumps by an hour while it runs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::Connection;
use tokio::time::Instant;
use tower_429::share::{Id, LimitRequest};

use super::{HOUR, LIMIT, Process, Server, facts::closed_for};
use crate::clock::now;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What all may hold of the limit.
const CEILING: u64 = 10;

const LIMITS: [(Id, Duration); 3] = [
    (LIMIT, Duration::from_secs(60)),
    (Id::from_bytes([8; 16]), HOUR),
    (Id::from_bytes([9; 16]), DAY),
];

/// Returns how many seconds the clock of the server is ahead.
#[allow(clippy::disallowed_methods)]
fn ahead(admin: &mut Connection) -> i64 {
    let time: (u64, u64) = redis::cmd("TIME").query(admin).expect("it is allowed");
    let here = SystemTime::now().duration_since(UNIX_EPOCH);
    time.0 as i64 - here.unwrap_or_default().as_secs() as i64
}

/// Checks the cooldowns that a new process receives.
async fn check_cooldowns(server: &Server, id: u8, published: Instant) {
    let mut process = Process::new(&server.url(), id);
    let response = process.receive().await;
    for (limit, length) in LIMITS {
        let limit = response.limits.iter().find(|it| it.limit == limit);
        let (_, fact, age) = &limit.expect("the fact lasts").facts[0];
        let ends = fact.rejection.as_ref().expect("the fact has it").ends;
        let left = ends.saturating_sub(*age);
        let least = length.saturating_sub(published.elapsed());
        assert!(
            least <= left && left <= length,
            "{least:?} {left:?} {length:?}"
        );
    }
    let mut last = process.request(Vec::new());
    last.is_last = true;
    process.exchange(last).await;
}

#[tokio::test]
async fn clock_that_jumps_ends_no_cooldown_and_frees_no_place() {
    let Some(server) = Server::start_with_clock() else {
        return;
    };
    let mut admin = server.admin();
    let mut processes = [1, 2].map(|id| Process::new(&server.url(), id));
    let mut held = [0; 2];
    let published = now();
    let facts =
        LIMITS.map(|(limit, ends)| LimitRequest::new(limit, Some(closed_for(1, ends)), Vec::new()));
    let request = processes[0].request(facts.into());
    let epoch = processes[0].exchange(request).await.epoch;
    for (id, hours) in (3..).zip([0, -1, 0, 1, 0, -1, 1]) {
        server.set_clock(hours * 3_600);
        let found = ahead(&mut admin);
        assert!(
            found.abs_diff(hours * 3_600) < 60,
            "{found} s instead of {hours} h"
        );
        for (process, held) in processes.iter_mut().zip(&mut held) {
            // The process returns one place, and both processes want all.
            *held = u64::saturating_sub(*held, 1);
            let (_, granted) = process.lease((*held, 0), CEILING, CEILING).await;
            *held += granted;
        }
        assert_eq!(held.iter().sum::<u64>(), CEILING, "{hours} h: {held:?}");
        check_cooldowns(&server, id, published).await;
        let response = processes[0].receive().await;
        assert_eq!((response.epoch, response.is_learning), (epoch, false));
        assert_eq!(response.replicas.len(), 2);
    }
}
