//! for a wait by the number of the retry: `.delays(|_seed| (0..).map(

use std::time::Duration;
use tower_429::BackoffLayer;

pub fn layer() {
    let _ = BackoffLayer::new().delays(|attempt| Duration::from_secs(attempt));
}
