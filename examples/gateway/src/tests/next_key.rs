//! A limit of one key is no limit of the model, while another key is free.

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

/// What the provider does with the greater model.
const ANSWERS: u8 = 0;
const REFUSES: u8 = 1;
/// Nothing is left, it says, for a moment.
const ANSWERS_ONCE_MORE: u8 = 2;
/// For an hour.
const ANSWERS_ONCE_MORE_FOR_LONG: u8 = 3;

async fn answer(State(does): State<Arc<AtomicU8>>, body: Bytes) -> Response {
    let left = |remaining: u8, reset: &str| {
        [
            ("x-ratelimit-limit-requests", "5".to_owned()),
            ("x-ratelimit-remaining-requests", remaining.to_string()),
            ("x-ratelimit-reset-requests", reset.to_owned()),
        ]
    };
    let is_lesser = body.windows(7).any(|bytes| bytes == b"\"small\"");
    match does.load(Ordering::SeqCst) {
        _ if is_lesser => "{}".into_response(),
        REFUSES => {
            let headers = [("retry-after-ms", "50")];
            (StatusCode::TOO_MANY_REQUESTS, headers, "{}").into_response()
        }
        ANSWERS_ONCE_MORE => (left(0, "50ms"), "{}").into_response(),
        ANSWERS_ONCE_MORE_FOR_LONG => (left(0, "1h"), "{}").into_response(),
        _ => (left(4, "1h"), "{}").into_response(),
    }
}

/// Which model served, and with which key.
async fn served(gateway: &Running) -> (String, String) {
    let (head, body) = gateway.ask(&chat("large", "")).await;
    assert_eq!(head.status(), 200, "{body}");
    let told = |name: &str| head.get(name).unwrap().to_owned();
    (told("x-tower-429-served-model"), told("x-tower-429-key"))
}

#[tokio::test]
async fn a_success_after_which_nothing_is_left_for_one_key_leaves_the_model_to_the_others() {
    let does = Arc::new(AtomicU8::new(ANSWERS_ONCE_MORE));
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

    // Once it was true that nothing is left where a success says so.
    served(&gateway).await;
    does.store(REFUSES, Ordering::SeqCst);
    in_time("the lesser model", async {
        while served(&gateway).await.0 != "small" {}
    })
    .await;
    does.store(ANSWERS, Ordering::SeqCst);
    in_time("the greater model, for as long as it is asked", async {
        // At first it gets only as many requests as it has last served.
        let mut in_a_row = 0;
        while in_a_row < 20 {
            in_a_row = match served(&gateway).await.0 == "large" {
                true => in_a_row + 1,
                false => 0,
            };
        }
    })
    .await;

    does.store(ANSWERS_ONCE_MORE_FOR_LONG, Ordering::SeqCst);
    let (model, used_up) = served(&gateway).await;
    assert_eq!(model, "large");
    does.store(ANSWERS, Ordering::SeqCst);
    let (model, key) = served(&gateway).await;
    assert_eq!(model, "large", "another key is free");
    assert_ne!(key, used_up);
}
