//! The response of the script. It is not trusted, because others may write into the server.

use std::collections::HashMap;

use redis::Value;
use tower_429::share::{ExchangeResponse, Grant, Id, LimitResponse};

use crate::{
    codec,
    error::ExchangeError::{self, Late, Unreadable},
    unit,
};

/// Reads a reply.
pub(crate) fn read(reply: &Value) -> Result<ExchangeResponse, ExchangeError> {
    match array(reply)? {
        [_] => Err(Late),
        [epoch, newest, is_learning, replicas, limits, facts] => {
            let mut hear = ExchangeResponse::new(text(epoch)?.parse().map_err(|_| Unreadable)?);
            hear.newest_fact = number(newest)?;
            hear.is_learning = number(is_learning)? != 0;
            hear.replicas = array(replicas)?.iter().map(id).collect::<Result<_, _>>()?;
            let mut limits_heard = HashMap::new();
            for grant in array(limits)?.chunks(3) {
                add_grant(&mut limits_heard, grant)?;
            }
            for fact in array(facts)?.chunks(4) {
                add_fact(&mut limits_heard, fact)?;
            }
            hear.limits = limits_heard.into_values().collect();
            Ok(hear)
        }
        _ => Err(Unreadable),
    }
}

type Limits = HashMap<Id, LimitResponse>;

/// Adds what was used of a limit in one unit, and is granted. A unit that is not known here is left out.
fn add_grant(limits: &mut Limits, parts: &[Value]) -> Result<(), ExchangeError> {
    let [field, used, granted] = parts else {
        return Err(Unreadable);
    };
    if let Some((limit, unit)) = unit::read(bytes(field)?) {
        let grant = Grant::new(number(used)?, number(granted)?);
        of_limit(limits, limit).grants.push((unit, grant));
    }
    Ok(())
}

/// Adds a fact, unless it is broken: then nothing is known of it.
fn add_fact(limits: &mut Limits, parts: &[Value]) -> Result<(), ExchangeError> {
    let [limit, replica, age, fact] = parts else {
        return Err(Unreadable);
    };
    let age = codec::duration(number(age)?);
    let ids = id(limit).ok().zip(id(replica).ok());
    if let Some(((limit, replica), fact)) = ids.zip(codec::decode(bytes(fact)?)) {
        of_limit(limits, limit).facts.push((replica, fact, age));
    }
    Ok(())
}

fn of_limit(limits: &mut Limits, limit: Id) -> &mut LimitResponse {
    limits
        .entry(limit)
        .or_insert_with(|| LimitResponse::new(limit))
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

fn text(value: &Value) -> Result<&str, ExchangeError> {
    std::str::from_utf8(bytes(value)?).map_err(|_| Unreadable)
}

fn id(value: &Value) -> Result<Id, ExchangeError> {
    let bytes = bytes(value)?.try_into().map_err(|_| Unreadable)?;
    Ok(Id::from_bytes(bytes))
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
