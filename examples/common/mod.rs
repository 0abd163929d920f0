//! A provider, and a function that prints a trail, for the examples of each client.

use std::{io, time::Duration};

use http::Response;
use mock_provider::{LimitedProvider, Model};
use tower_429::{
    KeyPool,
    key_rotation::{Key, PoolError},
    trail::Trail,
};

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// Starts a provider that allows each key one request per second to the large model, and five to the small one.
pub(crate) async fn provider() -> io::Result<LimitedProvider> {
    let model = |name, limit| Model {
        name,
        limit,
        thinks: Duration::from_millis(10),
    };
    let models = [model("large", 1), model("small", 5)];
    LimitedProvider::start(&models, Duration::from_secs(1)).await
}

/// Returns the keys of two projects that share no limit.
pub(crate) fn keys() -> Result<KeyPool, PoolError> {
    KeyPool::new([
        Key::new("sk-alpha").label("alpha"),
        Key::new("sk-beta").label("beta"),
    ])
}

/// Prints the status of a response, and the attempts of its call.
pub(crate) fn print_trail<B>(response: &Response<B>) {
    println!("{}", response.status());
    if let Some(trail) = response.extensions().get::<Trail>() {
        println!("{trail}");
    }
}
