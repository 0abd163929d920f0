//! Tables of what was seen at providers, and their look-ups.

pub(super) mod codes;
pub(super) mod messages;
pub(super) mod profiles;
pub(super) mod provider_codes;
