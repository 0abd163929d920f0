//! How much may be sent now with a key, or to a target. Pure: `now` is an argument.

mod cooldown;

pub(crate) use cooldown::{Cooldown, NO_HINT};
