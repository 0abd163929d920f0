//! Wire forms, one file for each, whichever provider sends it. Nothing here depends on what a value means for
//! the caller.

pub(super) mod chinese;
pub(super) mod code;
pub(super) mod decimal;
mod delay_field;
mod duration;
pub(super) mod error_body;
pub(super) mod error_json;
pub(super) mod event;
pub(super) mod framing;
pub(super) mod google;
pub(super) mod limit_name;
pub(super) mod limit_numbers;
pub(super) mod message_delay;
mod nested;
pub(super) mod reset;
pub(super) mod retry_after;
pub(crate) mod sse;
mod timespan;
mod timestamp;
mod xml;
