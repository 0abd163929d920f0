//! Addresses from a configuration: an accepted address has a host, and no key is sent to another origin.
//!
//! The input is an address.

#![no_main]

use std::{cell::RefCell, convert::Infallible, rc::Rc};

use http::{Request, Response, StatusCode, Uri};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{self, Runtime};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_429::{FallbackLayer, KeyPool, KeyRotationLayer, fallback::Target};

const KEY: &str = "sk-of-the-own-origin";
const OWN: &str = "https://api.example";

thread_local! {
    static RUNTIME: Option<Runtime> = runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .ok();
}

fuzz_target!(|address: &str| {
    let pool = KeyPool::builder([KEY]).for_origin(address).build();
    if let Err(error) = &pool {
        assert!(!error.to_string().contains(KEY));
    }
    let Ok(target) = Target::same_model_at(address) else {
        return;
    };
    let Ok(pool) = KeyPool::builder([KEY]).for_origin(OWN).build() else {
        return;
    };
    for (uri, has_key) in sends(target, pool) {
        assert!(uri.host().is_some(), "no host: {uri}");
        assert!(matches!(uri.scheme_str(), Some("http" | "https")), "{uri}");
        let port = uri.port_u16().unwrap_or(443);
        let is_own = uri.scheme_str() == Some("https") && port == 443;
        let host = uri.host().unwrap_or_default().trim_end_matches('.');
        let is_own = is_own && host.eq_ignore_ascii_case("api.example");
        assert!(is_own || !has_key, "the key went to {uri}");
    }
});

/// Returns where requests go, and whether they have the key. The first request is rejected.
fn sends(target: Target, pool: KeyPool) -> Vec<(Uri, bool)> {
    let sent = Rc::new(RefCell::new(Vec::new()));
    let log = sent.clone();
    let provider = service_fn(move |request: Request<String>| {
        let has_key = request.headers().values().any(|value| {
            value
                .as_bytes()
                .windows(KEY.len())
                .any(|part| part == KEY.as_bytes())
        });
        log.borrow_mut().push((request.uri().clone(), has_key));
        let mut response = Response::new(String::new());
        if log.borrow().len() == 1 {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        async { Ok::<_, Infallible>(response) }
    });
    let client = ServiceBuilder::new()
        .layer(FallbackLayer::new([target]))
        .layer(KeyRotationLayer::new(pool))
        .service(provider);
    let request = Request::post("https://api.example/v1/chat/completions?q=1").body(String::new());
    RUNTIME.with(|runtime| {
        if let (Ok(request), Some(runtime)) = (request, runtime) {
            let _ = runtime.block_on(client.oneshot(request));
        }
    });
    sent.take()
}
