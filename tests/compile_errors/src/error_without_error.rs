//! `String` is neither an error nor a box of one

use tower_429::BackoffLayer;

pub fn layer() {
    let _ = BackoffLayer::new().on_error(|error: &String| error.is_empty());
}
