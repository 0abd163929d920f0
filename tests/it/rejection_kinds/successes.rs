//! Error codes inside a 200: MiniMax and Baidu.

use std::{convert::Infallible, future::ready, time::Duration};

use http::{Request, Response};
use tower::{Layer, ServiceExt, service_fn};
use tower_429::{InspectLayer, rejection::Rejection};

use crate::rows::summary;

const MINIMAX: &str = "api.minimaxi.com";
const BAIDU: &str = "aip.baidubce.com";
const PROXY: &str = "proxy.example";

async fn inspected(layer: InspectLayer, host: &str, kind: &str, body: &'static str) -> String {
    let response = Response::builder()
        .header("content-type", kind)
        .body(String::from(body))
        .unwrap();
    let mut response = Some(response);
    let provider = service_fn(move |_: Request<()>| {
        ready(Ok::<_, Infallible>(response.take().expect("one request")))
    });
    let request = Request::post(format!("https://{host}/v1"))
        .body(())
        .unwrap();
    let response = layer.layer(provider).oneshot(request).await.unwrap();
    summary(response.extensions().get::<Rejection>())
}

#[tokio::test(start_paused = true)]
async fn codes_in_a_success_are_read_only_with_first_event() {
    const JSON: &str = "application/json; charset=utf-8";
    const SSE: &str = "text/event-stream";
    let first_event = InspectLayer::new().first_event(Duration::from_secs(5));
    for (host, kind, body, expected) in [
        (
            MINIMAX,
            JSON,
            r#"{"id":"1","choices":null,"base_resp":{"status_code":1002,"status_msg":"rate limit"}}"#,
            "RateLimited Requests Minute +time +key +model",
        ),
        (
            PROXY,
            JSON,
            r#"{"base_resp":{"status_code":1002,"status_msg":"rate limit"}}"#,
            "RateLimited Requests Minute +time +key +model",
        ),
        (
            BAIDU,
            JSON,
            r#"{"id":"as-1","error_code":336501,"error_msg":"Rate limit reached for RPM"}"#,
            "RateLimited Requests Minute +time +key +model",
        ),
        (
            PROXY,
            JSON,
            r#"{"error_code":18,"error_msg":"Open api qps request limit reached"}"#,
            "RateLimited Requests Second +time +key +model",
        ),
        (
            BAIDU,
            SSE,
            "data: {\"error_code\":18,\"error_msg\":\"Open api qps request limit reached\"}\n\n",
            "RateLimited Requests Second +time +key +model",
        ),
        (
            MINIMAX,
            SSE,
            "data: {\"id\":\"1\",\"base_resp\":{\"status_code\":1008,\"status_msg\":\"insufficient balance\"}}\n\n",
            "QuotaExhausted @Account +key",
        ),
        (
            "dashscope.aliyuncs.com",
            SSE,
            "id:1\nevent:error\n:HTTP_STATUS/429\ndata:{\"code\":\"Throttling.AllocationQuota\",\"message\":\"Allocated quota exceeded, please increase your quota limit.\"}\n\n",
            "RateLimited Tokens Minute @AccountModel +time +key +model",
        ),
    ] {
        assert_eq!(
            inspected(first_event, host, kind, body).await,
            expected,
            "{body}"
        );
        assert_eq!(
            inspected(InspectLayer::new(), host, kind, body).await,
            "none"
        );
    }
}
