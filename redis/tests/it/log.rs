//! The log of a worker, as far as it is about sharing.

use std::{fmt, time::UNIX_EPOCH};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

/// Prints each event about sharing, and each of another crate.
pub(crate) struct SharingLog;

/// The message of an event, and whether it is about sharing.
struct Line {
    text: String,
    is_about_sharing: bool,
}

impl Subscriber for SharingLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= tracing::Level::INFO
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line {
            text: String::new(),
            is_about_sharing: event.metadata().target() != "tower_429",
        };
        event.record(&mut line);
        if line.is_about_sharing {
            println!("\nlogged={} {}", millis(), line.text);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.text = format!("{value:?}"),
            "share" => self.is_about_sharing = true,
            _ => {}
        }
    }
}

/// Returns the milliseconds since 1970, which processes can compare.
#[allow(clippy::disallowed_methods)]
pub(crate) fn millis() -> u64 {
    let now = UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
