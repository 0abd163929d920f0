//! The command of an exchange.

use std::{sync::LazyLock, time::Duration};

use redis::Cmd;
use tower_429::share::{Ask, HOLDS_FOR, LEARNS_FOR, LIVES_FOR, LimitSay, Say};

use crate::{codec, keys::PoolKeys};

/// How many units are counted of each limit.
pub(crate) const UNITS: usize = 1;

/// A number that the script can count with.
const MOST: u64 = 1 << 52;

/// More limits are not said in one exchange. No process has so many.
const MAX_LIMITS: usize = 4_096;

/// No fact lasts longer than a day. Each exchange begins this time anew for the keys of the pool.
const EXPIRES: Duration = Duration::from_secs(24 * 60 * 60 + 60);

/// The script as it is sent: without comments and indentation.
static SCRIPT: LazyLock<String> = LazyLock::new(|| {
    let lines = include_str!("exchange.lua").lines().map(str::trim_start);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("--"));
    lines.collect::<Vec<_>>().join("\n")
});

/// Returns the command. `epoch` is that of the pool if the server knows none.
pub(crate) fn exchange(keys: &PoolKeys, say: &Say, epoch: u64) -> Cmd {
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
    command.arg(say.heard.min(MOST)).arg(u8::from(say.is_last));
    command.arg(epoch % MOST).arg(UNITS);
    for time in [HOLDS_FOR, LIVES_FOR, LEARNS_FOR] {
        command.arg(codec::micros(time));
    }
    command.arg(EXPIRES.as_secs() * 1_000);
    let joins = &say.joins[..say.joins.len().min(MAX_LIMITS)];
    let limits = &say.limits[..say.limits.len().min(MAX_LIMITS)];
    command.arg(joins.len()).arg(limits.len());
    joins.iter().for_each(|limit| {
        command.arg(&limit.to_bytes());
    });
    limits.iter().for_each(|limit| add(&mut command, limit));
    command
}

fn add(command: &mut Cmd, say: &LimitSay) {
    command.arg(&say.limit.to_bytes());
    add_ask(command, say.requests);
    let fact = say.fact.as_ref();
    match fact.and_then(|fact| Some((fact, codec::encode(fact)?))) {
        Some((fact, bytes)) => command
            .arg(fact.version.min(MOST))
            .arg(codec::micros(fact.lasts()))
            .arg(bytes),
        None => command.arg("").arg(0).arg(""),
    };
}

fn add_ask(command: &mut Cmd, ask: Ask) {
    for number in [ask.held, ask.used, ask.wanted, ask.ceiling] {
        command.arg(number.min(MOST));
    }
}
