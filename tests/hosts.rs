//! Untrusted callers choose hosts through a gateway, so only a few become labels. This is a binary of its own, because
//! the bound is per process.

#[path = "it/script.rs"]
mod script;

use std::collections::BTreeSet;

use crate::script::*;
use http::Request;
use metrics_exporter_prometheus::PrometheusBuilder;
use tower::{ServiceBuilder, ServiceExt};
use tower_429::{BackoffLayer, FallbackLayer};

#[tokio::test(start_paused = true)]
async fn metrics_have_few_series_for_a_thousand_hosts_and_models() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::new(["small"]))
        .layer(BackoffLayer::new().attempts(1))
        .service(Provider::new(|_| limited(1)));
    let long = format!("{}.example", "x".repeat(300));
    let strangers = (0..1000).map(|number| format!("host-{number}.example"));
    for host in [long]
        .into_iter()
        .chain(strangers)
        .chain(["HOST-1.Example".into()])
    {
        let request = Request::post(format!("http://{host}/v1/chat/completions"))
            .body(format!(r#"{{"model": "model of {host:.30}"}}"#))
            .unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 429);
        assert_eq!(attempts(&response).len(), 2);
    }
    let text = recorder.handle().render();
    let hosts: BTreeSet<_> = text
        .split("host=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert_eq!(hosts.len(), 65, "{hosts:?}");
    assert!(hosts.contains("other") && hosts.contains("host-0.example"));
    assert!(
        !text.contains("xxx") && !text.contains("model of"),
        "{text}"
    );
    let count = |host: &str| {
        let line = format!(r#"tower_429_calls_total{{host="{host}",outcome="rejected"}} "#);
        let rest = text.split(&line).nth(1).unwrap();
        rest.lines().next().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(count("other"), 1000 - 64 + 1, "every call is counted");
    assert_eq!(
        count("host-1.example"),
        2,
        "the case of a host does not matter"
    );
    assert!(text.lines().count() < 500, "{}", text.lines().count());
}
