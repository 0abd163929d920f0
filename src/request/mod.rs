//! What a request says, and how it is rewritten.

pub(crate) mod content_coding;
mod cost;
pub(crate) mod credentials;
mod model;
mod origin;
pub(crate) mod redact;
mod uri;

pub use cost::Cost;
pub use credentials::{is_credential_header, is_credential_parameter};
pub(crate) use model::Model;
pub(crate) use origin::Origin;
pub(crate) use uri::{has_parameter, has_room, with_parameter, with_path};
