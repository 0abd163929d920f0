//! The command of an exchange.

use std::{sync::LazyLock, time::Duration};

use redis::Cmd;
use tower_429::share::{ExchangeRequest, HOLDS_FOR, LEARNS_FOR, LIVES_FOR, LimitRequest};

use crate::{codec, keys::PoolKeys, unit};

/// A number that the script can count with.
const MOST: u64 = 1 << 52;

/// More limits are not sent in one exchange. No process has so many.
const MAX_LIMITS: usize = 4_096;

/// No fact lasts longer than a day. The keys of a pool get this expiry at least once a second while they are in use.
const EXPIRES: Duration = Duration::from_secs(24 * 60 * 60 + 60);

/// The script as it is sent: without comments and indentation.
static SCRIPT: LazyLock<String> = LazyLock::new(|| {
    let lines = include_str!("exchange.lua").lines().map(str::trim_start);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("--"));
    lines.collect::<Vec<_>>().join("\n")
});

/// Returns the script as it is sent.
pub(crate) fn script() -> &'static str {
    &SCRIPT
}

/// Returns the command. `epoch` is the one to begin if the server has none, and `since_last` is the time since the
/// last response, if there was one.
pub(crate) fn exchange(
    script: &str,
    keys: &PoolKeys,
    request: &ExchangeRequest,
    (epoch, since_last): (u64, Option<Duration>),
) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(script);
    command.arg(keys.iter().len());
    keys.iter().for_each(|key| {
        command.arg(key);
    });
    let new_limits = &request.new_limits[..request.new_limits.len().min(MAX_LIMITS)];
    let limits = &request.limits[..request.limits.len().min(MAX_LIMITS)];
    let requests = limits.iter().flat_map(requests).collect::<Vec<_>>();
    let facts = limits.iter().filter_map(fact).collect::<Vec<_>>();
    let counts = [new_limits.len(), requests.len(), facts.len()];
    command.arg(head(request, (epoch, since_last), counts));
    new_limits.iter().for_each(|limit| {
        command.arg(&limit.to_bytes());
    });
    requests.iter().chain(&facts).for_each(|bytes| {
        command.arg(bytes);
    });
    command
}

/// Returns the first argument. An epoch is never zero, which stands for none.
fn head(
    request: &ExchangeRequest,
    (epoch, since_last): (u64, Option<Duration>),
    counts: [usize; 3],
) -> Vec<u8> {
    let mut head = request.replica.to_bytes().to_vec();
    add(&mut head, request.number);
    add(&mut head, request.epoch.unwrap_or(0));
    add(&mut head, request.newest_fact);
    head.push(u8::from(request.is_last));
    add(&mut head, (epoch % MOST).max(1));
    head.push(unit::COUNT);
    for time in [HOLDS_FOR, LIVES_FOR, LEARNS_FOR] {
        add(&mut head, codec::micros(time));
    }
    add(&mut head, EXPIRES.as_secs() * 1_000);
    let since_last = since_last.and_then(|time| u64::try_from(time.as_micros()).ok());
    add(&mut head, since_last.unwrap_or(MOST));
    for count in counts {
        // There are at most as many units for each limit.
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        head.extend_from_slice(&count.to_be_bytes());
    }
    head
}

/// Adds a number.
fn add(bytes: &mut Vec<u8>, number: u64) {
    bytes.extend_from_slice(&number.min(MOST).to_be_bytes());
}

/// Returns the lease requests for a limit: the limit and the unit, and five numbers. A unit of a later release is left
/// out.
fn requests(limit: &LimitRequest) -> impl Iterator<Item = Vec<u8>> {
    limit.leases.iter().filter_map(|(unit, lease)| {
        let mut bytes = unit::field(limit.limit, *unit)?.to_vec();
        let numbers = [
            lease.held,
            lease.used,
            lease.wanted,
            lease.least,
            lease.ceiling,
        ];
        numbers.iter().for_each(|number| add(&mut bytes, *number));
        Some(bytes)
    })
}

/// Returns the fact on a limit: the limit, how long the fact lasts, its version, and the rest.
fn fact(limit: &LimitRequest) -> Option<Vec<u8>> {
    let fact = limit.fact.as_ref()?;
    let mut bytes = limit.limit.to_bytes().to_vec();
    add(&mut bytes, codec::micros(fact.lasts()));
    add(&mut bytes, fact.version);
    bytes.extend(codec::encode(fact)?);
    Some(bytes)
}
