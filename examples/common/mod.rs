//! What the examples for each client share: a provider, and a way to print a trail.

use std::{io, time::Duration};

use http::Response;
use mock_provider::{LimitedProvider, Model};
use tower_429::{
    KeyPool,
    key_rotation::{Key, PoolError},
    trail::Trail,
};

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// One request a second for the large model and five for the small one, for each key.
pub(crate) async fn provider() -> io::Result<LimitedProvider> {
    let model = |name, limit| Model {
        name,
        limit,
        thinks: Duration::from_millis(10),
    };
    let models = [model("large", 1), model("small", 5)];
    LimitedProvider::start(&models, Duration::from_secs(1)).await
}

/// The keys of two projects that share no limit.
pub(crate) fn keys() -> Result<KeyPool, PoolError> {
    KeyPool::new([
        Key::new("sk-alpha").label("alpha"),
        Key::new("sk-beta").label("beta"),
    ])
}

/// Prints the status, and how it came about.
pub(crate) fn tell<B>(response: &Response<B>) {
    println!("{}", response.status());
    if let Some(trail) = response.extensions().get::<Trail>() {
        println!("{trail}");
    }
}
