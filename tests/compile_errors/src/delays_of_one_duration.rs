//! for the same wait each time: `.delays(|_seed| std::iter::repeat(wait))`

use std::time::Duration;
use tower_429::BackoffLayer;

pub fn layer() {
    let _ = BackoffLayer::new().delays(Duration::from_secs(1));
}
