//! The response of the script. It is not trusted, because others may write into the server.

use std::collections::{HashMap, HashSet};

use redis::Value;
use tower_429::share::{ExchangeResponse, Grant, Id, LimitResponse};

use crate::{
    codec,
    error::ExchangeError::{self, Late, Unreadable},
    unit,
};

/// The bytes of a process: its id, and two numbers that only the script needs.
const REPLICA_BYTES: usize = 32;

/// Reads a reply to this process.
pub(crate) fn read(reply: &Value, replica: Id) -> Result<ExchangeResponse, ExchangeError> {
    match array(reply)? {
        [_] => Err(Late),
        [
            epoch,
            newest,
            is_learning,
            now,
            replicas,
            grants,
            names,
            facts,
        ] => {
            let mut response = ExchangeResponse::new(number(epoch)?);
            response.newest_fact = number(newest)?;
            response.is_learning = number(is_learning)? != 0;
            let replicas = bytes(replicas)?.chunks_exact(REPLICA_BYTES);
            response.replicas = replicas.filter_map(id).collect();
            let mut limits = HashMap::new();
            for grant in array(grants)? {
                add_grant(&mut limits, bytes(grant)?)?;
            }
            let mut reader = FactReader {
                replica,
                live: response.replicas.iter().copied().collect(),
                now: number(now)?,
                limits,
            };
            for (name, fact) in array(names)?.iter().zip(array(facts)?) {
                reader.add(bytes(name)?, fact);
            }
            response.limits = reader.limits.into_values().collect();
            Ok(response)
        }
        _ => Err(Unreadable),
    }
}

type Limits = HashMap<Id, LimitResponse>;

/// Reads the facts of other processes.
struct FactReader {
    replica: Id,
    live: HashSet<Id>,
    /// The time of the server.
    now: u64,
    limits: Limits,
}

// === impl FactReader ===

impl FactReader {
    /// Adds a fact, unless it is broken, or of a process that has ended and without use now.
    fn add(&mut self, name: &[u8], fact: &Value) {
        let (Some(limit), Some(of), Value::BulkString(fact)) =
            (id(name), name.get(16..).and_then(id), fact)
        else {
            return;
        };
        let Some((came, lasts, fact)) = split(fact) else {
            return;
        };
        let matters = self.live.contains(&of) || self.now < came.saturating_add(lasts);
        if of == self.replica || !matters {
            return;
        }
        if let Some(fact) = codec::decode(fact) {
            let age = codec::duration(self.now.saturating_sub(came));
            of_limit(&mut self.limits, limit)
                .facts
                .push((of, fact, age));
        }
    }
}

/// Returns when a fact came and how long it lasts, and its bytes after its version.
fn split(fact: &[u8]) -> Option<(u64, u64, &[u8])> {
    let (came, rest) = fact.split_first_chunk()?;
    let (lasts, rest) = rest.split_first_chunk()?;
    let (_version, fact) = rest.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*came), u64::from_be_bytes(*lasts), fact))
}

/// Adds what was used of a limit in one unit, and what is granted. An unknown unit is left out.
fn add_grant(limits: &mut Limits, grant: &[u8]) -> Result<(), ExchangeError> {
    let (field, numbers) = grant.split_first_chunk::<17>().ok_or(Unreadable)?;
    let (used, granted) = numbers.split_first_chunk().ok_or(Unreadable)?;
    let granted = granted.try_into().map_err(|_| Unreadable)?;
    if let Some((limit, unit)) = unit::read(field) {
        let grant = Grant::new(u64::from_be_bytes(*used), u64::from_be_bytes(granted));
        of_limit(limits, limit).grants.push((unit, grant));
    }
    Ok(())
}

fn of_limit(limits: &mut Limits, limit: Id) -> &mut LimitResponse {
    limits
        .entry(limit)
        .or_insert_with(|| LimitResponse::new(limit))
}

/// Returns the id with which these bytes begin.
fn id(bytes: &[u8]) -> Option<Id> {
    bytes.first_chunk().copied().map(Id::from_bytes)
}

fn array(value: &Value) -> Result<&[Value], ExchangeError> {
    match value {
        Value::Array(values) => Ok(values),
        _ => Err(Unreadable),
    }
}

fn bytes(value: &Value) -> Result<&[u8], ExchangeError> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        _ => Err(Unreadable),
    }
}

/// Returns a number; zero for a negative one.
fn number(value: &Value) -> Result<u64, ExchangeError> {
    match value {
        Value::Int(number) => Ok(u64::try_from(*number).unwrap_or(0)),
        _ => Err(Unreadable),
    }
}

#[cfg(test)]
mod tests;
