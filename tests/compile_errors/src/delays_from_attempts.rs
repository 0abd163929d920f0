//! expected closure signature `fn(u64) -> _`

use std::time::Duration;
use tower_429::BackoffLayer;

pub fn layer() {
    let _ = BackoffLayer::new().delays(|attempt: u32| Duration::from_secs(attempt.into()));
}
