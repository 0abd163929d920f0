//! The gateway with its built-in configuration, in front of the mock.

use serde_json::Value;

use super::{
    harness::{Running, run},
    mock::{self, Mock},
    serve::{Config, WITHOUT_FILE},
};

async fn start(mock: &mock::Settings) -> (Running, Mock) {
    let config = Config::parse(WITHOUT_FILE).unwrap();
    assert!(config.needs_mock());
    let mock = Mock::start(mock).await.unwrap();
    (run(&config, &mock.origin()).await, mock)
}

fn at_once() -> mock::Settings {
    mock::Settings {
        pace_ms: 0,
        ..Default::default()
    }
}

fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

const SAID: &str = "Each word comes when it is said, not at the end.";

#[tokio::test]
async fn each_provider_responds_through_its_route() {
    let (gateway, _mock) = start(&at_once()).await;
    let table = [
        (
            "/v1/chat/completions",
            r#"{"model": "gpt-4o"}"#,
            "gpt-4o",
            "/choices/0/message/content",
        ),
        (
            "/v1/responses",
            r#"{"model": "gpt-4o"}"#,
            "gpt-4o",
            "/output/0/content/0/text",
        ),
        (
            "/v1/messages",
            r#"{"model": "claude-sonnet-5", "max_tokens": 9}"#,
            "claude-sonnet-5",
            "/content/0/text",
        ),
        (
            "/v1beta/models/gemini-2.5-pro:generateContent",
            "{}",
            "gemini-2.5-pro",
            "/candidates/0/content/parts/0/text",
        ),
    ];
    for (path, body, model, text) in table {
        let (head, answer) = gateway.send(&post(path, body)).await;
        assert_eq!(head.status(), 200, "{path}: {answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let said = answer.pointer(text).unwrap().as_str().unwrap();
        assert_eq!(said, format!("Hello from {model}. {SAID}"));
        assert_eq!(head.get("x-tower-429-served-model"), Some(model));
    }
    assert!(gateway.get("/v1/models").await.contains("gpt-4o-mini"));
}

#[tokio::test]
async fn each_provider_streams_through_its_route() {
    let (gateway, _mock) = start(&at_once()).await;
    let table = [
        (
            "/v1/chat/completions",
            r#"{"model": "gpt-4o-mini", "stream": true}"#,
            "/choices/0/delta/content",
        ),
        (
            "/v1/responses",
            r#"{"model": "gpt-4o-mini", "stream": true}"#,
            "/delta",
        ),
        (
            "/v1/messages",
            r#"{"model": "claude-haiku-5-5", "max_tokens": 9, "stream": true}"#,
            "/delta/text",
        ),
        (
            "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
            "{}",
            "/candidates/0/content/parts/0/text",
        ),
    ];
    for (path, body, text) in table {
        let (head, answer) = gateway.send(&post(path, body)).await;
        assert_eq!(head.status(), 200, "{path}: {answer}");
        assert!(
            head.get("content-type")
                .unwrap()
                .starts_with("text/event-stream")
        );
        let events = answer
            .lines()
            .filter_map(|line| line.strip_prefix("data: "));
        let events = events.filter_map(|event| serde_json::from_str::<Value>(event).ok());
        let words = events.filter_map(|event| Some(event.pointer(text)?.as_str()?.to_owned()));
        let words: Vec<String> = words.filter(|word| !word.is_empty()).collect();
        assert!(words.len() > 10, "{path}: {answer}");
        assert!(words.concat().ends_with(SAID), "{path}: {words:?}");
    }
    let (_, array) = gateway
        .send(&post(
            "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
            "{}",
        ))
        .await;
    let array: Value = serde_json::from_str(&array).unwrap();
    assert!(array.as_array().unwrap().len() > 10);
}

#[tokio::test]
async fn the_next_key_helps_after_a_rejection_of_each_provider() {
    // Every window is longer than the test, and no hint leads to a wait.
    let (gateway, mock) = start(&mock::Settings {
        window_ms: 3_600_000,
        ..at_once()
    })
    .await;
    let address = mock.origin();
    let mut control = super::wire::Wire::connect(address["http://".len()..].parse().unwrap()).await;
    for (path, body) in [
        ("/v1/chat/completions", r#"{"model": "gpt-4o"}"#),
        (
            "/v1/messages",
            r#"{"model": "claude-sonnet-5", "max_tokens": 9}"#,
        ),
        ("/v1beta/models/gemini-2.5-pro:generateContent", "{}"),
    ] {
        control.send("POST /mock/reject?times=2&ms=1800000 HTTP/1.1\r\nhost: mock\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(control.head().await.status(), 204);
        let (head, answer) = gateway.send(&post(path, body)).await;
        assert_eq!(head.status(), 200, "{path}: {answer}");
        assert_eq!(head.get("x-tower-429-attempts"), Some("3"), "{path}");
        assert_eq!(head.get("x-tower-429-key"), Some("gamma"), "{path}");
    }
    let keys = gateway.json("/keys").await;
    for upstream in keys.as_array().unwrap() {
        for key in 0..2 {
            // Only the rejection reports this time.
            let left = upstream.pointer(&format!("/keys/{key}/limited_models/0/free_in_ms"));
            let left = left.unwrap().as_u64().unwrap();
            assert!((1_000_000..=1_800_000).contains(&left), "{upstream}");
        }
    }
}

#[tokio::test]
async fn an_uploaded_file_comes_back_as_it_was() {
    let (gateway, _mock) = start(&at_once()).await;
    let content = "line\r\n--almost\r\n\r\n".repeat(1_000);
    let form = format!(
        "--x\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nuser_data\r\n\
         --x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\r\n{content}\r\n--x--\r\n"
    );
    let request =
        post("/v1/files", &form).replace("application/json", "multipart/form-data; boundary=x");
    let (head, file) = gateway.send(&request).await;
    assert_eq!(head.status(), 200, "{file}");
    let file: Value = serde_json::from_str(&file).unwrap();
    assert_eq!(file["bytes"], content.len());
    let path = format!("/v1/files/{}/content", file["id"].as_str().unwrap());
    assert!(gateway.get(&path).await == content);
}

#[tokio::test]
async fn error_of_a_provider_passes_through() {
    let (gateway, _mock) = start(&at_once()).await;
    let body = r#"{"model": "gpt-4o", "temperature": 3}"#;
    let (head, answer) = gateway.send(&post("/v1/chat/completions", body)).await;
    assert_eq!(head.status(), 400);
    assert!(head.get("x-request-id").unwrap().starts_with("req_mock"));
    assert!(answer.contains("decimal_above_max_value"), "{answer}");
    let (head, _) = gateway
        .send(&post("/v1/chat/completions", r#"{"model": "gpt-9"}"#))
        .await;
    assert_eq!(head.status(), 404);
}

#[tokio::test]
async fn the_next_key_serves_the_same_model_if_one_key_has_used_it_up() {
    // Every window outlasts the test.
    let (gateway, _mock) = start(&mock::Settings {
        window_ms: 3_600_000,
        ..at_once()
    })
    .await;
    let mut served = Vec::new();
    for _ in 0..6 {
        let body = r#"{"model": "gpt-4o"}"#;
        let (head, answer) = gateway.send(&post("/v1/chat/completions", body)).await;
        assert_eq!(head.status(), 200, "{answer}");
        let names = ["x-tower-429-key", "x-tower-429-served-model"];
        let values = names.map(|name| head.get(name).unwrap().to_owned());
        served.push(values.join(" "));
    }
    // Each key may send two requests, and the second response reports that none is left.
    let keys = ["alpha", "alpha", "beta", "beta", "gamma", "gamma"];
    assert_eq!(served, keys.map(|key| format!("{key} gpt-4o")));
}

/// Returns a line of the log without the figures that differ in each run.
fn without_figures(line: &str) -> String {
    let line = line.split(" time.busy=").next().unwrap_or_default();
    let varies =
        |word: &&str| !word.starts_with("server.port=") && !word.starts_with("retry_after_ms=");
    line.split(' ').filter(varies).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn metrics_and_log_match_the_readme() {
    // Every window outlasts the test.
    let (gateway, mock) = start(&mock::Settings {
        window_ms: 3_600_000,
        ..at_once()
    })
    .await;
    for _ in 0..7 {
        let body = r#"{"model": "gpt-4o"}"#;
        let (head, answer) = gateway.send(&post("/v1/chat/completions", body)).await;
        assert_eq!(head.status(), 200, "{answer}");
    }
    let readme = include_str!("../../README.md");
    let of_gateway = |line: &&str| line.starts_with("tower_429_") && !line.contains("api.example");
    let shown: Vec<_> = readme.lines().filter(of_gateway).collect();
    assert_eq!(shown.len(), 6);
    let metrics = gateway.get("/metrics").await;
    for line in shown {
        assert!(
            metrics.contains(&format!("{line}\n")),
            "{line} in {metrics}"
        );
    }

    {
        let shown = readme.lines().filter(|line| line.contains(" server.port="));
        let shown = shown.map(|line| without_figures(line.split_once("  ").unwrap().1));
        let shown: Vec<_> = shown.collect();
        assert_eq!(shown.len(), 2);
        let address = mock.origin()["http://".len()..].parse().unwrap();
        let log = super::harness::logged(address);
        let log: Vec<_> = log.iter().map(|line| without_figures(line)).collect();
        for line in shown {
            assert!(log.contains(&line), "{line} in {log:#?}");
        }
    }
    drop(mock);
}
