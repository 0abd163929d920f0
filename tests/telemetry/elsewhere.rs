//! Requests of Fallback to another host are classified and counted under that host.

use crate::script::*;
use http::Request;
use metrics_exporter_prometheus::PrometheusBuilder;
use tower::{Layer as _, ServiceExt};
use tower_429::{FallbackLayer, fallback::Target, rejection::Window};

#[tokio::test(start_paused = true)]
async fn metrics_name_the_host_of_a_target_and_of_a_request_without_a_scheme() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let elsewhere = Target::same_model_at("https://other.example").unwrap();
    let layer = FallbackLayer::new([elsewhere]);
    let provider = Provider::script([limited(1), ok()]);
    layer.layer(provider).oneshot(chat("m")).await.unwrap();
    // A request target like that of CONNECT.
    let request = Request::get("proxied.example:443");
    let request = request.body(String::new()).unwrap();
    let provider = Provider::script([ok()]);
    layer.layer(provider).oneshot(request).await.unwrap();

    let text = recorder.handle().render();
    let mut counted: Vec<_> = text
        .lines()
        .filter(|line| {
            line.starts_with("tower_429_attempts") || line.starts_with("tower_429_calls")
        })
        .collect();
    counted.sort_unstable();
    let expected = [
        r#"tower_429_attempts_total{host="api.example",target="own",outcome="rejected"} 1"#,
        r#"tower_429_attempts_total{host="other.example",target="fallback",outcome="answered"} 1"#,
        r#"tower_429_attempts_total{host="proxied.example",target="own",outcome="answered"} 1"#,
        r#"tower_429_calls_total{host="api.example",outcome="answered"} 1"#,
        r#"tower_429_calls_total{host="proxied.example",outcome="answered"} 1"#,
    ];
    assert_eq!(counted, expected);
}

#[tokio::test(start_paused = true)]
async fn response_of_a_target_is_classified_by_its_own_provider() {
    let full = || {
        Answer::Response(
            429,
            vec![
                ("x-ratelimit-limit-requests", "100".into()),
                ("x-ratelimit-remaining-requests", "0".into()),
                ("x-ratelimit-reset-requests", "30s".into()),
            ],
        )
    };
    let provider = Provider::script([full(), full()]);
    let groq = Target::same_model_at("https://api.groq.com").unwrap();
    let service = FallbackLayer::new([groq]).layer(provider);
    let response = service.oneshot(chat("m")).await.unwrap();
    let windows = attempts(&response)
        .into_iter()
        .map(|attempt| attempt.rejection.unwrap().window);
    let expected = [Some(Window::Minute), Some(Window::Day)];
    assert_eq!(windows.collect::<Vec<_>>(), expected);
}
