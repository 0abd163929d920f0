//! A program that uses the crate `log` and has no subscriber gets a record for each attempt too.

#![cfg(test)]

use std::sync::Mutex;

use mock_provider::{Provider, chat, limited, ok};
use tower::{ServiceBuilder, ServiceExt};
use tower_429::{KeyPool, KeyRotationLayer};

struct Log;

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl log::Log for Log {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target() == "tower_429"
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = format!("{} {}", record.level(), record.args());
            LINES.lock().unwrap().push(line);
        }
    }

    fn flush(&self) {}
}

#[tokio::test(start_paused = true)]
async fn log_crate_receives_each_attempt() {
    log::set_logger(&Log).unwrap();
    log::set_max_level(log::LevelFilter::Debug);
    let service = ServiceBuilder::new()
        .layer(KeyRotationLayer::new(KeyPool::new(["a", "b"]).unwrap()))
        .service(Provider::script([limited(5), ok()]));
    service.oneshot(chat("m")).await.unwrap();
    let lines = LINES.lock().unwrap();
    let attempts = lines.iter().filter(|line| line.contains("attempt="));
    let attempts: Vec<_> = attempts.map(String::as_str).collect();
    let expected = [
        r#"INFO rate limited, next key attempt=1 status=429 retry_after_ms=5000 key="key-1""#,
        r#"DEBUG answered attempt=2 status=200 key="key-2""#,
    ];
    assert_eq!(attempts, expected);
}
