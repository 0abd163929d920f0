//! How a fact is written into the server and read back. What is read may be forged.
//!
//! The first byte is the version. Unknown fields are skipped, so fields may be added. A fact that
//! is broken otherwise reads as none. No duration that is read is longer than 24 hours.

mod field;
mod names;

use tower_429::{
    Cost,
    rejection::{Bucket, Dimension, Reason, Rejection, Scope, Window},
    share::{Fact, RejectedFact, Report},
};

pub(crate) use self::field::{duration, micros};
use self::{
    field::{Broken, Reader, Value, Writer, age_micros},
    names::Numbered,
};

/// The version of the encoding.
const VERSION: u8 = 1;

/// No fact is longer. A list of 64 sends and 32 reports has half of that.
const MAX_BYTES: usize = 8 * 1024;

/// Writes a fact; `None` if it is too long.
pub(crate) fn encode(fact: &Fact) -> Option<Vec<u8>> {
    let mut writer = Writer(vec![VERSION]);
    writer.number(1, fact.version);
    writer.number(2, fact.sent);
    writer.number(3, fact.passed);
    writer.number(4, fact.rejected);
    writer.number(5, fact.ended);
    writer.numbers(6, (fact.cost.input(), fact.cost.output()));
    for (number, ago) in &fact.sends {
        writer.numbers(7, (*number, age_micros(*ago)));
    }
    writer.optional(8, fact.last_passed.map(age_micros));
    if let Some(rejected) = &fact.rejection {
        writer.bytes(9, &encode_rejected(rejected));
    }
    for report in &fact.reports {
        writer.bytes(10, &encode_report(report));
    }
    let traits = &fact.traits;
    writer.flag(11, traits.steady_requests);
    writer.flag(12, traits.steady_tokens);
    writer.flag(13, traits.opens_in_full);
    for (tag, dimensions) in [(14, &traits.confirmed), (15, &traits.disproved)] {
        for dimension in dimensions {
            writer.optional(tag, dimension.number());
        }
    }
    writer.optional(16, fact.slots);
    (writer.0.len() <= MAX_BYTES).then_some(writer.0)
}

fn encode_rejected(rejected: &RejectedFact) -> Vec<u8> {
    let mut writer = Writer::default();
    let rejection = &rejected.rejection;
    writer.optional(1, rejection.reason.number());
    writer.optional(2, rejection.dimension.and_then(Numbered::number));
    writer.optional(3, rejection.window.and_then(Numbered::number));
    writer.optional(4, rejection.scope.and_then(Numbered::number));
    writer.optional(5, rejection.numbers.limit);
    writer.optional(6, rejection.numbers.used);
    writer.optional(7, rejection.numbers.requested);
    writer.optional(8, rejection.retry_after.map(micros));
    writer.flag(9, rejection.should_retry);
    writer.flag(10, rejection.remedies.time);
    writer.flag(11, rejection.remedies.key);
    writer.flag(12, rejection.remedies.model);
    for report in &rejected.reports {
        writer.bytes(13, &encode_report(report));
    }
    writer.age(14, rejected.sent);
    writer.age(15, rejected.came);
    writer.time(16, rejected.ends);
    writer.0
}

fn encode_report(report: &Report) -> Vec<u8> {
    let mut writer = Writer::default();
    let bucket = &report.bucket;
    writer.optional(1, bucket.dimension.number());
    writer.optional(2, bucket.window.and_then(Numbered::number));
    writer.optional(3, bucket.scope.and_then(Numbered::number));
    writer.optional(4, bucket.limit);
    writer.optional(5, bucket.remaining);
    writer.optional(6, bucket.reset.map(micros));
    writer.optional(7, bucket.cost);
    writer.age(8, report.sent);
    writer.0
}

/// Reads a fact; `None` if it is broken or of another version.
pub(crate) fn decode(bytes: &[u8]) -> Option<Fact> {
    match bytes.split_first() {
        Some((&VERSION, fields)) if bytes.len() <= MAX_BYTES => decode_fact(fields).ok(),
        _ => None,
    }
}

fn decode_fact(bytes: &[u8]) -> Result<Fact, Broken> {
    let mut fact = Fact::default();
    for field in Reader::new(bytes) {
        let (tag, value) = field?;
        match tag {
            1 => fact.version = value.number()?,
            2 => fact.sent = value.number()?,
            3 => fact.passed = value.number()?,
            4 => fact.rejected = value.number()?,
            5 => fact.ended = value.number()?,
            6 => {
                let (input, output) = value.numbers()?;
                fact.cost = Cost::new(input, output);
            }
            7 => {
                let (number, ago) = value.numbers()?;
                fact.sends.push((number, duration(ago)));
            }
            8 => fact.last_passed = Some(value.time()?),
            9 => fact.rejection = decode_rejected(value)?,
            10 => fact.reports.extend(decode_report(value)?),
            11 => fact.traits.steady_requests = Some(value.flag()?),
            12 => fact.traits.steady_tokens = Some(value.flag()?),
            13 => fact.traits.opens_in_full = Some(value.flag()?),
            14 => fact
                .traits
                .confirmed
                .extend(Dimension::of_number(value.number()?)),
            16 => fact.slots = Some(value.number()?),
            15 => fact
                .traits
                .disproved
                .extend(Dimension::of_number(value.number()?)),
            _ => {}
        }
    }
    // Each fact that is written has a version.
    match fact.version {
        0 => Err(Broken),
        _ => Ok(fact),
    }
}

/// Reads a rejection; `None` if its reason is unknown.
fn decode_rejected(value: Value<'_>) -> Result<Option<RejectedFact>, Broken> {
    let (mut reason, mut reports) = (None, Vec::new());
    let (mut sent, mut came, mut ends) = (None, None, None);
    let mut rejection = Rejection::new(Reason::RateLimited);
    for field in Reader::new(value.0) {
        let (tag, value) = field?;
        match tag {
            1 => reason = Reason::of_number(value.number()?),
            2 => rejection.dimension = Dimension::of_number(value.number()?),
            3 => rejection.window = Window::of_number(value.number()?),
            4 => rejection.scope = Scope::of_number(value.number()?),
            5 => rejection.numbers.limit = Some(value.number()?),
            6 => rejection.numbers.used = Some(value.number()?),
            7 => rejection.numbers.requested = Some(value.number()?),
            8 => rejection.retry_after = Some(value.time()?),
            9 => rejection.should_retry = Some(value.flag()?),
            10 => rejection.remedies.time = Some(value.flag()?),
            11 => rejection.remedies.key = Some(value.flag()?),
            12 => rejection.remedies.model = Some(value.flag()?),
            13 => reports.extend(decode_report(value)?),
            14 => sent = Some(value.time()?),
            15 => came = Some(value.time()?),
            16 => ends = Some(value.time()?),
            _ => {}
        }
    }
    let (Some(sent), Some(came), Some(ends)) = (sent, came, ends) else {
        return Err(Broken);
    };
    Ok(reason.map(|reason| {
        rejection.reason = reason;
        RejectedFact::new(rejection, reports, (sent, came), ends)
    }))
}

/// Reads a report; `None` if its unit is unknown.
fn decode_report(value: Value<'_>) -> Result<Option<Report>, Broken> {
    let (mut dimension, mut sent) = (None, None);
    let mut bucket = Bucket::new(Dimension::Requests);
    for field in Reader::new(value.0) {
        let (tag, value) = field?;
        match tag {
            1 => dimension = Dimension::of_number(value.number()?),
            2 => bucket.window = Window::of_number(value.number()?),
            3 => bucket.scope = Scope::of_number(value.number()?),
            4 => bucket.limit = Some(value.number()?),
            5 => bucket.remaining = Some(value.number()?),
            6 => bucket.reset = Some(value.time()?),
            7 => bucket.cost = Some(value.number()?),
            8 => sent = Some(value.time()?),
            _ => {}
        }
    }
    let sent = sent.ok_or(Broken)?;
    Ok(dimension.map(|dimension| {
        bucket.dimension = dimension;
        Report::new(bucket, sent)
    }))
}

#[cfg(test)]
mod tests;
