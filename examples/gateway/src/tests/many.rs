//! Many streams at once lose no byte, and release all keys.

use std::{convert::Infallible, process::Command, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Path,
    http::header,
    response::IntoResponse,
    routing::post,
};
use futures::{StreamExt, stream};
use http_body_util::BodyExt;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{
    net::TcpListener,
    sync::{Barrier, watch},
};

use super::{harness::run, serve::Config, wire::in_time};

const STREAMS: usize = 500;
const CHUNKS: usize = 40;

/// Returns the bytes of a chunk. No other chunk has the same.
fn chunk(stream: usize, number: usize) -> Bytes {
    let length = 50 + (stream * 7 + number * 13) % 400;
    let mut text = format!("data: {stream} {number} ");
    text.extend(std::iter::repeat_n('.', length));
    Bytes::from(text + "\n\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_streams_lose_no_byte_and_release_all_keys() {
    raise_open_files();
    // All streams begin before any ends.
    let begun = Arc::new(Barrier::new(STREAMS));
    let answer = move |Path(stream): Path<usize>| {
        let begun = begun.clone();
        async move {
            let chunks = stream::iter(0..CHUNKS).then(move |number| {
                let begun = begun.clone();
                async move {
                    if number == 1 {
                        begun.wait().await;
                    }
                    tokio::task::yield_now().await;
                    Ok::<_, Infallible>(chunk(stream, number))
                }
            });
            let kind = [(header::CONTENT_TYPE, "text/event-stream")];
            (kind, Body::from_stream(chunks)).into_response()
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    let router = Router::new().route("/v1/{stream}", post(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let text = format!(
        "[[upstream]]\nname = \"provider\"\nat = \"http://{upstream}\"\nroutes = [\"/v1\"]\n\
         keys = [\"KEY_1\", \"KEY_2\", \"KEY_3\"]\norder = \"round_robin\""
    );
    let gateway = run(&Config::parse(&text).unwrap(), "").await;

    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let (open, _) = watch::channel(());
    let calls = (0..STREAMS).map(|stream| {
        let (client, mut open) = (client.clone(), open.subscribe());
        let uri = format!("http://{}/v1/{stream}", gateway.address);
        tokio::spawn(async move {
            let request = axum::http::Request::post(uri)
                .header("content-type", "application/json")
                .body(Body::from(r#"{"model": "large", "stream": true}"#))
                .unwrap();
            let _ = open.changed().await;
            let answer = client.request(request).await.unwrap();
            assert_eq!(answer.status(), 200);
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            let expected: Vec<u8> = (0..CHUNKS)
                .flat_map(|number| chunk(stream, number))
                .collect();
            assert!(body == expected, "stream {stream} lost bytes");
        })
    });
    let calls: Vec<_> = calls.collect();
    open.send_replace(());
    for call in calls {
        in_time("a stream", call).await.unwrap();
    }
    assert_eq!(gateway.in_flight(), 0);
    let keys = gateway.gateway.upstreams[0].pool.snapshot();
    let uses: u64 = keys.iter().map(|key| key.uses).sum();
    assert_eq!(uses, STREAMS as u64);
    assert!(keys.iter().all(|key| key.uses > 0), "{keys:?}");
}

/// Raises the limit of open files, because each stream takes four sockets, and a login shell often allows fewer.
fn raise_open_files() {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3)?.parse::<usize>().ok());
    let needed = STREAMS * 4 + 200;
    if soft.is_some_and(|soft| soft < needed) {
        let raised = Command::new("prlimit")
            .arg(format!("--pid={}", std::process::id()))
            .arg(format!("--nofile={needed}:"))
            .status();
        let is_raised = raised.is_ok_and(|status| status.success());
        assert!(is_raised, "allow more open files first: ulimit -n {needed}");
    }
}
