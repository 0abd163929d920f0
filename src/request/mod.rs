//! What a request says, and how it is rewritten.

pub(crate) mod content_coding;
pub(crate) mod credentials;
mod model;
mod origin;
pub(crate) mod redact;
mod uri;

pub(crate) use model::Model;
pub(crate) use origin::Origin;
pub(crate) use uri::{has_room, with_path};
