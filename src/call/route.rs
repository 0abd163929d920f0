//! Which key, model and target a request goes out with.

use std::sync::Arc;

use crate::request::{Cost, Origin};

/// The route of one send. The layers set it before the send, and the log keeps it.
#[derive(Clone, Default)]
pub(crate) struct Route {
    pub(crate) key: Option<Arc<str>>,
    pub(crate) model: Option<Arc<str>>,
    pub(crate) target: Option<Arc<str>>,
    /// What the send is taken to cost, if a layer counts it.
    pub(crate) cost: Option<Cost>,
    /// The origin in the caller's own request, whatever the layers have changed since.
    pub(crate) original_origin: Option<Origin>,
}
