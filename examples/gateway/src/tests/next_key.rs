//! A limit of one key does not limit the model while another key is free.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use tokio::net::TcpListener;

use super::{
    harness::{Running, chat, run},
    serve::Config,
    wire::in_time,
};

/// How the provider responds to a request for the large model.
const SUCCEEDS: u8 = 0;
const REJECTS: u8 = 1;
/// With a success that reports nothing left for 50 ms.
const EXHAUSTED_BRIEFLY: u8 = 2;
/// With a success that reports nothing left for an hour.
const EXHAUSTED_FOR_LONG: u8 = 3;

async fn answer(State(does): State<Arc<AtomicU8>>, body: Bytes) -> Response {
    let left = |remaining: u8, reset: &str| {
        [
            ("x-ratelimit-limit-requests", "5".to_owned()),
            ("x-ratelimit-remaining-requests", remaining.to_string()),
            ("x-ratelimit-reset-requests", reset.to_owned()),
        ]
    };
    let is_small = body.windows(7).any(|bytes| bytes == b"\"small\"");
    match does.load(Ordering::SeqCst) {
        _ if is_small => "{}".into_response(),
        REJECTS => {
            let headers = [("retry-after-ms", "50")];
            (StatusCode::TOO_MANY_REQUESTS, headers, "{}").into_response()
        }
        EXHAUSTED_BRIEFLY => (left(0, "50ms"), "{}").into_response(),
        EXHAUSTED_FOR_LONG => (left(0, "1h"), "{}").into_response(),
        _ => (left(4, "1h"), "{}").into_response(),
    }
}

/// Returns the model and the key that served a request.
async fn served(gateway: &Running) -> (String, String) {
    let (head, body) = gateway.send(&chat("large", "")).await;
    assert_eq!(head.status(), 200, "{body}");
    let header = |name: &str| head.get(name).unwrap().to_owned();
    (
        header("x-tower-429-served-model"),
        header("x-tower-429-key"),
    )
}

#[tokio::test]
async fn model_stays_in_use_if_one_key_has_nothing_left_after_a_success() {
    let does = Arc::new(AtomicU8::new(EXHAUSTED_BRIEFLY));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    let router = Router::new()
        .route("/v1/chat/completions", post(answer))
        .with_state(does.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let text = format!(
        "[[upstream]]\nname = \"provider\"\nat = \"http://{upstream}\"\nroutes = [\"/v1\"]\n\
         keys = [\"KEY_1\", \"KEY_2\"]\nmax_wait_ms = 1\nfallback = [{{ model = \"small\" }}]"
    );
    let gateway = run(&Config::parse(&text).unwrap(), "").await;

    // The first such report is true, because the next request is rejected.
    served(&gateway).await;
    does.store(REJECTS, Ordering::SeqCst);
    in_time("the fallback model", async {
        while served(&gateway).await.0 != "small" {}
    })
    .await;
    does.store(SUCCEEDS, Ordering::SeqCst);
    in_time("only the large model", async {
        // At first the large model gets only as many requests as it has served before.
        let mut in_a_row = 0;
        while in_a_row < 20 {
            in_a_row = match served(&gateway).await.0 == "large" {
                true => in_a_row + 1,
                false => 0,
            };
        }
    })
    .await;

    does.store(EXHAUSTED_FOR_LONG, Ordering::SeqCst);
    let (model, used_up) = served(&gateway).await;
    assert_eq!(model, "large");
    does.store(SUCCEEDS, Ordering::SeqCst);
    let (model, key) = served(&gateway).await;
    assert_eq!(model, "large", "another key is free");
    assert_ne!(key, used_up);
}
