//! What the script answers. Whoever writes into the server can make it say anything.

use redis::Value;
use tower_429::share::{Hear, Id, LimitHear};

use crate::{
    codec,
    command::UNITS,
    error::ExchangeError::{self, Late, Unreadable},
};

/// Reads a reply.
pub(crate) fn read(reply: &Value) -> Result<Hear, ExchangeError> {
    match array(reply)? {
        [_] => Err(Late),
        [epoch, newest, is_learning, replicas, limits, facts] => {
            let mut hear = Hear::new(text(epoch)?.parse().map_err(|_| Unreadable)?);
            hear.heard = number(newest)?;
            hear.is_learning = number(is_learning)? != 0;
            hear.replicas = array(replicas)?.iter().map(id).collect::<Result<_, _>>()?;
            let limits = array(limits)?.chunks(1 + 2 * UNITS);
            hear.limits = limits.map(limit).collect::<Result<_, _>>()?;
            array(facts)?
                .chunks(4)
                .try_for_each(|it| add_fact(&mut hear, it))?;
            Ok(hear)
        }
        _ => Err(Unreadable),
    }
}

fn limit(parts: &[Value]) -> Result<LimitHear, ExchangeError> {
    let [limit, used, granted] = parts else {
        return Err(Unreadable);
    };
    let mut hear = LimitHear::new(id(limit)?);
    (hear.used, hear.granted) = (number(used)?, number(granted)?);
    Ok(hear)
}

/// Adds a fact, unless it is broken: then nothing is known of it.
fn add_fact(hear: &mut Hear, parts: &[Value]) -> Result<(), ExchangeError> {
    let [limit, replica, age, fact] = parts else {
        return Err(Unreadable);
    };
    let (limit, age) = (id(limit)?, codec::duration(number(age)?));
    let (Ok(replica), Some(fact)) = (id(replica), codec::decode(bytes(fact)?)) else {
        return Ok(());
    };
    let known = hear.limits.iter_mut().find(|it| it.limit == limit);
    if let Some(known) = known {
        known.facts.push((replica, fact, age));
    }
    Ok(())
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
