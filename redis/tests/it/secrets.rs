//! What the server stores and shows to `MONITOR`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::{net::TcpStream, time::Duration};

use tower_429::share::Name;

use crate::{
    processes::{all_failed, keys},
    provider::Provider,
    support::Server,
    worker::{MODEL, NAME, SECRET, Work},
};

/// Watches all commands until the connection is closed.
fn watch(server: &Server) -> std::thread::JoinHandle<String> {
    let address = server.url().replace("redis://", "");
    let mut watcher = TcpStream::connect(address).expect("the server runs");
    watcher.write_all(b"MONITOR\r\n").expect("the server reads");
    let mut lines = BufReader::new(watcher);
    let mut seen = String::new();
    lines.read_line(&mut seen).expect("the server responds");
    assert_eq!(seen, "+OK\r\n");
    std::thread::spawn(move || {
        while lines.read_line(&mut seen).is_ok_and(|count| count > 0) {}
        seen
    })
}

/// Returns everything that the server keeps, as text.
fn dump(server: &Server) -> String {
    let mut admin = server.admin();
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg("*")
        .query(&mut admin)
        .expect("it is allowed");
    let dumps = keys.iter().map(|key| {
        let dump: Vec<u8> = redis::cmd("DUMP")
            .arg(key)
            .query(&mut admin)
            .expect("it exists");
        format!("{key} {}", String::from_utf8_lossy(&dump))
    });
    dumps.collect()
}

#[tokio::test]
async fn neither_keys_nor_models_nor_addresses_reach_the_server() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let provider = Provider::start().await.expect("a port is free");
    let watcher = watch(&server);
    let work = Work {
        server: Some(server.url()),
        origin: provider.origin().to_owned(),
        keys: keys(2),
        callers: 8,
        calls: 8,
        pause: Duration::ZERO,
    };
    assert_eq!(all_failed(vec![work.start()]).await, 0);
    let kept = dump(&server);
    server.kill();
    let seen = watcher.join().expect("it reads to the end");
    let address = provider.origin().replace("http://", "");
    for text in [&kept, &seen] {
        assert!(text.contains(NAME), "something was kept and seen");
        for secret in [
            "sk-of",
            "nobody-else",
            MODEL,
            SECRET,
            &address,
            "chat/completions",
            "key-1",
            "Bearer",
        ] {
            assert!(!text.contains(secret), "{secret} reaches the server");
        }
    }
}

#[tokio::test]
async fn password_is_in_no_debug_output_and_in_no_error() {
    let url = "redis://app:the-password@127.0.0.1:1";
    let name = Name::new(NAME).secret(SECRET);
    let (sharing, driver) = tower_429_redis::connect(url, name.clone()).expect("it is valid");
    let mut texts = format!("{sharing:?} {driver:?}");
    for url in [
        "redis://app:the-password@host:port",
        "http://app:the-password@host",
        "redis://app:the-password@/x?a",
    ] {
        if let Err(error) = tower_429_redis::connect(url, name.clone()) {
            texts.push_str(&format!("{error} {error:?}"));
        }
    }
    assert!(
        !texts.contains("the-password") && !texts.contains(SECRET),
        "{texts}"
    );
}
