//! The command of an exchange.

use std::{sync::LazyLock, time::Duration};

use redis::Cmd;
use tower_429::share::{ExchangeRequest, HOLDS_FOR, LEARNS_FOR, LIVES_FOR, LimitRequest};

use crate::{codec, keys::PoolKeys, unit};

/// A number that the script can count with.
const MOST: u64 = 1 << 52;

/// More limits are not said in one exchange. No process has so many.
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

/// Returns the command. `epoch` is that of the pool if the server knows none, and `silent` the time since the last
/// response, if there was one.
pub(crate) fn exchange(
    script: &str,
    keys: &PoolKeys,
    say: &ExchangeRequest,
    (epoch, silent): (u64, Option<Duration>),
) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(script);
    command.arg(keys.iter().len());
    keys.iter().for_each(|key| {
        command.arg(key);
    });
    let new_limits = &say.new_limits[..say.new_limits.len().min(MAX_LIMITS)];
    let limits = &say.limits[..say.limits.len().min(MAX_LIMITS)];
    let requests = limits.iter().flat_map(requests).collect::<Vec<_>>();
    let facts = limits.iter().filter_map(fact).collect::<Vec<_>>();
    let counts = [new_limits.len(), requests.len(), facts.len()];
    command.arg(head(say, (epoch, silent), counts));
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
    say: &ExchangeRequest,
    (epoch, silent): (u64, Option<Duration>),
    counts: [usize; 3],
) -> Vec<u8> {
    let mut head = say.replica.to_bytes().to_vec();
    add(&mut head, say.number);
    add(&mut head, say.epoch.unwrap_or(0));
    add(&mut head, say.newest_fact);
    head.push(u8::from(say.is_last));
    add(&mut head, (epoch % MOST).max(1));
    head.push(unit::COUNT);
    for time in [HOLDS_FOR, LIVES_FOR, LEARNS_FOR] {
        add(&mut head, codec::micros(time));
    }
    add(&mut head, EXPIRES.as_secs() * 1_000);
    let silent = silent.and_then(|time| u64::try_from(time.as_micros()).ok());
    add(&mut head, silent.unwrap_or(MOST));
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

/// Returns the lease requests for a limit: its name with the unit, and five numbers. A unit of a later release is left
/// out.
fn requests(say: &LimitRequest) -> impl Iterator<Item = Vec<u8>> {
    say.leases.iter().filter_map(|(unit, request)| {
        let mut bytes = unit::field(say.limit, *unit)?.to_vec();
        let numbers = [
            request.held,
            request.used,
            request.wanted,
            request.least,
            request.ceiling,
        ];
        numbers.iter().for_each(|number| add(&mut bytes, *number));
        Some(bytes)
    })
}

/// Returns what is known of a limit: its name, how long the fact lasts, its version, and the rest.
fn fact(say: &LimitRequest) -> Option<Vec<u8>> {
    let fact = say.fact.as_ref()?;
    let mut bytes = say.limit.to_bytes().to_vec();
    add(&mut bytes, codec::micros(fact.lasts()));
    add(&mut bytes, fact.version);
    bytes.extend(codec::encode(fact)?);
    Some(bytes)
}
