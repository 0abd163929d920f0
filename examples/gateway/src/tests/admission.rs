//! Which requests the gateway accepts.

use super::{
    harness::{Running, chat, in_front_of, response, run},
    serve::Config,
    wire::Upstream,
};

/// Returns the status that a request gets. An upstream that it reaches returns 200.
async fn status(upstream: &Upstream, gateway: &Running, request: &str) -> u16 {
    let mut caller = gateway.connect().await;
    caller.send(request).await;
    let forwarded = response("200 OK", "connection: close\r\n", "{}");
    tokio::select! {
        _ = upstream.respond(&forwarded) => caller.head().await.status(),
        head = caller.head() => head.status(),
    }
}

fn get(path: &str, host: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n")
}

#[tokio::test]
async fn gateway_rejects_requests_by_web_pages_of_other_sites() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    for header in [
        "sec-fetch-site: cross-site",
        "sec-fetch-site: same-site",
        // Older browsers send only `origin`, and so do all browsers to an `http` address that is not loopback.
        "origin: https://evil.example",
        "origin: http://localhost:4290",
        "origin: null",
        "origin: http://localhost\r\norigin: https://evil.example",
    ] {
        let header = format!("{header}\r\n");
        let (head, body) = gateway.send(&chat("large", &header)).await;
        assert_eq!(head.status(), 403, "{header}: {body}");
        assert!(body.contains("asked_by_a_web_page"), "{body}");
    }
    for header in [
        "",
        "sec-fetch-site: same-origin\r\n",
        "sec-fetch-site: none\r\n",
        "origin: http://localhost\r\nsec-fetch-site: same-origin\r\n",
        "origin: https://LocalHost\r\n",
    ] {
        let status = status(&upstream, &gateway, &chat("large", header)).await;
        assert_eq!(status, 200, "{header}");
    }
}

#[tokio::test]
async fn gateway_rejects_preflights_and_drops_cors_headers_of_the_upstream() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let preflight = "OPTIONS /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\norigin: https://evil.example\r\n\
                     access-control-request-method: POST\r\n\r\n";
    let own = preflight.replace("https://evil.example", "http://localhost");
    for preflight in [preflight, &own] {
        assert_eq!(status(&upstream, &gateway, preflight).await, 403);
    }
    let options = "OPTIONS /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert_eq!(status(&upstream, &gateway, options).await, 200);

    let mut caller = gateway.connect().await;
    caller.send(chat("large", "")).await;
    let permits =
        "access-control-allow-origin: *\r\nAccess-Control-Expose-Headers: *\r\nx-kept: 1\r\n";
    let (_provider, ..) = upstream.respond(&response("200 OK", permits, "{}")).await;
    let head = caller.head().await;
    assert_eq!(head.get("x-kept"), Some("1"));
    assert_eq!(head.get("access-control-allow-origin"), None);
    assert_eq!(head.get("access-control-expose-headers"), None);
}

#[tokio::test]
async fn gateway_on_loopback_rejects_a_host_that_is_not_loopback() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    for host in [
        "evil.example",
        "evil.example:4290",
        "127.0.0.1.evil.example",
    ] {
        for path in [
            "/",
            "/keys",
            "/rejections",
            "/metrics",
            "/healthz",
            "/v1/models",
        ] {
            let (head, body) = gateway.send(&get(path, host)).await;
            assert_eq!(head.status(), 403, "{host}{path}");
            assert!(body.contains("localhost"), "{body}");
        }
        let whole = get(&format!("http://{host}/keys"), "localhost");
        assert_eq!(status(&upstream, &gateway, &whole).await, 403);
    }
    let two = get("/keys", "localhost\r\nhost: evil.example");
    assert_eq!(status(&upstream, &gateway, &two).await, 400);
    for host in [
        "localhost",
        "LOCALHOST:1",
        "127.0.0.1",
        "127.0.0.1:4290",
        "[::1]",
        "[::1]:4290",
    ] {
        for path in ["/keys", "/v1/models"] {
            let status = status(&upstream, &gateway, &get(path, host)).await;
            assert_eq!(status, 200, "{host}{path}");
        }
    }
    let nameless = "GET /healthz HTTP/1.0\r\n\r\n";
    assert_eq!(status(&upstream, &gateway, nameless).await, 200);
}

#[tokio::test]
async fn gateway_accepts_any_host_if_it_does_not_listen_on_loopback() {
    let upstream = Upstream::start().await;
    let text = format!(
        "listen = \"0.0.0.0:4290\"\n[[upstream]]\nname = \"provider\"\nat = \"http://{}\"\nroutes = [\"/v1\"]\n\
         keys = [\"KEY_1\"]\n",
        upstream.address
    );
    let gateway = run(&Config::parse(&text).unwrap(), "").await;
    for path in ["/keys", "/v1/models"] {
        let request = get(path, "gateway.example");
        assert_eq!(status(&upstream, &gateway, &request).await, 200);
    }
}

#[tokio::test]
async fn gateway_does_not_forward_trace_and_connect() {
    let upstream = Upstream::start().await;
    let text = format!(
        "[[upstream]]\nname = \"provider\"\nat = \"http://{}\"\nroutes = [\"/\"]\nkeys = [\"KEY_1\"]\n",
        upstream.address
    );
    let gateway = run(&Config::parse(&text).unwrap(), "").await;
    for start in ["TRACE /v1/models", "CONNECT localhost:443"] {
        let request = format!("{start} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let (head, _) = gateway.send(&request).await;
        assert_eq!(head.status(), 405, "{start}");
        assert!(head.get("allow").unwrap().contains("POST"));
    }
}

#[tokio::test]
async fn gateway_rejects_a_path_with_dot_segments_or_a_backslash() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    for path in [
        "/v1/../admin/keys",
        "/v1/..",
        "/v1/./models",
        "/v1/%2e%2e/admin/keys",
        "/v1/.%2E/admin/keys",
        "/v1/%2E",
        "/v1/..%2fadmin",
        "/v1/\\..\\admin",
        "/v1/models%5c..",
        "/v1/models%5Ca",
    ] {
        let request = get(path, "localhost");
        assert_eq!(status(&upstream, &gateway, &request).await, 404, "{path}");
    }
    for path in [
        "/v1/...",
        "/v1/gpt-4.1",
        "/v1/.hidden",
        "/v1/a%2Fb",
        "/v1/%252e%252e/a",
    ] {
        let request = get(path, "localhost");
        assert_eq!(status(&upstream, &gateway, &request).await, 200, "{path}");
    }
}
