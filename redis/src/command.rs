//! The command of an exchange.

use std::{sync::LazyLock, time::Duration};

use redis::Cmd;
use tower_429::share::{ExchangeRequest, HOLDS_FOR, Id, LEARNS_FOR, LIVES_FOR, LimitRequest};

use crate::{codec, keys::PoolKeys, unit};

/// A number that the script can count with.
const MOST: u64 = 1 << 52;

/// More limits are not said in one exchange. No process has so many.
const MAX_LIMITS: usize = 4_096;

/// No fact lasts longer than a day. Each exchange sets the expiry of the keys of the pool again.
const EXPIRES: Duration = Duration::from_secs(24 * 60 * 60 + 60);

/// The script as it is sent: without comments and indentation.
static SCRIPT: LazyLock<String> = LazyLock::new(|| {
    let lines = include_str!("exchange.lua").lines().map(str::trim_start);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("--"));
    lines.collect::<Vec<_>>().join("\n")
});

/// Returns the command. `epoch` is that of the pool if the server knows none.
pub(crate) fn exchange(keys: &PoolKeys, say: &ExchangeRequest, epoch: u64) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(SCRIPT.as_str());
    command.arg(keys.iter().len());
    keys.iter().for_each(|key| {
        command.arg(key);
    });
    command
        .arg(&say.replica.to_bytes())
        .arg(say.number.min(MOST));
    match say.epoch {
        Some(epoch) => command.arg(epoch),
        None => command.arg(""),
    };
    command
        .arg(say.newest_fact.min(MOST))
        .arg(u8::from(say.is_last));
    command.arg(epoch % MOST).arg(unit::COUNT);
    for time in [HOLDS_FOR, LIVES_FOR, LEARNS_FOR] {
        command.arg(codec::micros(time));
    }
    command.arg(EXPIRES.as_secs() * 1_000);
    let new_limits = &say.new_limits[..say.new_limits.len().min(MAX_LIMITS)];
    let limits = &say.limits[..say.limits.len().min(MAX_LIMITS)];
    let asks = limits.iter().flat_map(asks).collect::<Vec<_>>();
    let facts = limits.iter().filter_map(fact).collect::<Vec<_>>();
    command
        .arg(new_limits.len())
        .arg(asks.len())
        .arg(facts.len());
    new_limits.iter().for_each(|limit| {
        command.arg(&limit.to_bytes());
    });
    for (field, numbers) in asks {
        command.arg(&field);
        numbers.iter().for_each(|number| {
            command.arg((*number).min(MOST));
        });
    }
    for (limit, version, lasts, bytes) in facts {
        command.arg(&limit.to_bytes()).arg(version.min(MOST));
        command.arg(lasts).arg(bytes);
    }
    command
}

/// Returns the lease requests for a limit, by the name of the limit and the unit. A unit of a later release is left out.
fn asks(say: &LimitRequest) -> impl Iterator<Item = (unit::Field, [u64; 5])> {
    say.leases.iter().filter_map(|(unit, ask)| {
        let field = unit::field(say.limit, *unit)?;
        let numbers = [ask.held, ask.used, ask.wanted, ask.least, ask.ceiling];
        Some((field, numbers))
    })
}

/// Returns the limit, the version, the microseconds that it lasts, and the bytes.
fn fact(say: &LimitRequest) -> Option<(Id, u64, u64, Vec<u8>)> {
    let fact = say.fact.as_ref()?;
    let lasts = codec::micros(fact.lasts());
    Some((say.limit, fact.version, lasts, codec::encode(fact)?))
}
