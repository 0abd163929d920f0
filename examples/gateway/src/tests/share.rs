//! Several gateways with the same keys share their limits, through an engine in this process and through a server.

use serde_json::{Value, json};
use tower_429::share::{InMemory, Name, share};

use super::{
    harness::{Running, SECRETS, chat, logged_with, response, run, run_shared},
    serve::Config,
    server::Server,
    wire::{Head, Upstream, Wire, in_time},
};

/// Returns the configuration of a gateway in front of an upstream with two keys.
fn config(settings: &str, upstream: &Upstream) -> Config {
    let text = format!(
        "{settings}\n[[upstream]]\nname = \"provider\"\nat = \"http://{}\"\nroutes = [\"/v1\"]\n\
         keys = [\"KEY_1\", \"KEY_2\"]\n",
        upstream.address
    );
    Config::parse(&text).unwrap()
}

/// Runs two gateways that share through this engine under this name.
async fn two(engine: &InMemory, name: &str, upstream: &Upstream) -> [Running; 2] {
    let config = config("", upstream);
    let start = || {
        let shared = share(engine.clone(), Name::new(name));
        run_shared(&config, "", Some(shared))
    };
    let gateways = [start().await, start().await];
    for gateway in &gateways {
        until(gateway, "/share", |share| share["processes"] == 2).await;
    }
    gateways
}

/// Waits until a view shows something.
async fn until(gateway: &Running, path: &str, shows: impl Fn(&Value) -> bool) {
    let mut caller = gateway.connect().await;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let shown = async {
        loop {
            caller.send(&request).await;
            let head = caller.head().await;
            let body = caller.read_body(&head).await;
            if shows(&serde_json::from_slice(&body).unwrap()) {
                return;
            }
        }
    };
    in_time(path, shown).await;
}

/// Returns a success that reports eight of ten requests to be left.
fn ok() -> String {
    let left = "x-ratelimit-limit-requests: 10\r\nx-ratelimit-remaining-requests: 8\r\n\
                x-ratelimit-reset-requests: 600s\r\nconnection: close\r\n";
    response("200 OK", left, "{}")
}

/// Sends a call to a gateway. The upstream gets its request, and does not respond yet.
async fn send(gateway: &Running, upstream: &Upstream) -> (Wire, Wire, Head) {
    let mut caller = gateway.connect().await;
    caller.send(chat("large", "")).await;
    let mut provider = upstream.accept().await;
    let head = provider.head().await;
    provider.read_body(&head).await;
    (caller, provider, head)
}

/// Returns the secret of a request.
fn key(request: &Head) -> &str {
    let header = request.get("authorization").unwrap();
    header.strip_prefix("Bearer ").unwrap()
}

/// One gateway finds a key limited, and the other one does not send with it.
async fn key_found_limited_by_one_is_not_used_by_other(
    [one, other]: &[Running; 2],
    upstream: &Upstream,
) {
    let [(_, first), (_, second), _] = SECRETS;
    // The limit of a model is shared from its first request on.
    let (mut caller, mut provider, request) = send(other, upstream).await;
    assert_eq!(key(&request), first);
    provider.send(ok()).await;
    assert_eq!(caller.head().await.status(), 200);

    let (mut caller, mut provider, request) = send(one, upstream).await;
    assert_eq!(key(&request), first);
    let limited = "retry-after: 1800\r\nconnection: close\r\n";
    let limited = response("429 Too Many Requests", limited, "{}");
    provider.send(limited).await;
    let (_, request, _) = upstream.respond(&ok()).await;
    assert_eq!(key(&request), second);
    assert_eq!(caller.head().await.status(), 200);

    let limited = |keys: &Value| keys[0]["keys"][0]["limited_models"][0].clone();
    until(other, "/keys", |keys| limited(keys)["is_remote"] == true).await;
    let own = limited(&one.json("/keys").await);
    assert_eq!(own["is_remote"], false);
    let (mut caller, mut provider, request) = send(other, upstream).await;
    assert_eq!(key(&request), second);
    provider.send(ok()).await;
    assert_eq!(caller.head().await.status(), 200);
}

#[tokio::test]
async fn key_that_one_gateway_found_limited_is_not_used_by_another() {
    let upstream = Upstream::start().await;
    let gateways = two(&InMemory::new(), "limited", &upstream).await;
    key_found_limited_by_one_is_not_used_by_other(&gateways, &upstream).await;
}

#[tokio::test]
async fn gateways_share_through_the_server_that_the_file_names() {
    let Some(server) = Server::start() else {
        return;
    };
    let upstream = Upstream::start().await;
    let name = "prod/{1} *";
    let settings = format!("share = \"{}\"\nshare_name = \"{name}\"", server.url());
    let config = config(&settings, &upstream);
    let gateways = [run(&config, "").await, run(&config, "").await];
    for gateway in &gateways {
        until(gateway, "/share", |share| share["processes"] == 2).await;
    }
    key_found_limited_by_one_is_not_used_by_other(&gateways, &upstream).await;

    // Both gateways count in the recorder of the second.
    let metrics = gateways[1].get("/metrics").await;
    for line in [
        "tower_429_share_connected{share=\"prod/{1} *\"} 1",
        "tower_429_share_exchanges_total{share=\"prod/{1} *\",outcome=\"succeeded\"} ",
        "tower_429_share_granted_total{share=\"prod/{1} *\",unit=\"requests\"} ",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn view_of_the_share_has_what_is_leased_and_when_the_engine_responded() {
    let upstream = Upstream::start().await;
    let [gateway, _other] = two(&InMemory::new(), "leased", &upstream).await;
    let (mut caller, mut provider, _) = send(&gateway, &upstream).await;
    provider.send(ok()).await;
    assert_eq!(caller.head().await.status(), 200);
    let open = send(&gateway, &upstream).await;
    let in_flight = json!([{ "unit": "requests", "idle": 0, "in_flight": 1 }]);
    until(&gateway, "/share", |share| share["leases"] == in_flight).await;
    let share = gateway.json("/share").await;
    assert_eq!(
        (&share["state"], &share["processes"]),
        (&json!("connected"), &json!(2))
    );
    assert!(share["responded_ago_ms"].is_u64(), "{share}");
    drop(open);
    until(&gateway, "/share", |share| share["leases"] == json!([])).await;
}

#[tokio::test]
async fn engine_that_goes_away_is_shown_counted_and_logged_once() {
    let (upstream, engine, name) = (Upstream::start().await, InMemory::new(), "goes-away");
    let gateways = two(&engine, name, &upstream).await;
    engine.set_down(true);
    for gateway in &gateways {
        until(gateway, "/share", |share| share["state"] == "away").await;
        let share = gateway.json("/share").await;
        assert_eq!(
            (&share["processes"], &share["leases"]),
            (&json!(2), &json!([]))
        );
    }
    // Calls go on.
    let (mut caller, mut provider, _) = send(&gateways[0], &upstream).await;
    provider.send(ok()).await;
    assert_eq!(caller.head().await.status(), 200);
    let metrics = gateways[1].get("/metrics").await;
    for line in [
        "tower_429_share_connected{share=\"goes-away\"} 0\n",
        "tower_429_share_expiries_total{share=\"goes-away\"} 2\n",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    let lines = logged_with("share=\"goes-away\"");
    let count = |level: &str| lines.iter().filter(|it| it.starts_with(level)).count();
    // One line for each gateway and change.
    assert_eq!(
        (count("INFO"), count("WARN"), lines.len()),
        (2, 2, 4),
        "{lines:#?}"
    );
}

#[tokio::test]
async fn gateway_that_stops_frees_what_it_has_leased() {
    let upstream = Upstream::start().await;
    let [one, other] = two(&InMemory::new(), "stops", &upstream).await;
    one.stop.send(()).unwrap();
    in_time("the end of its connections", one.server)
        .await
        .unwrap();
    drop(one.gateway);
    in_time("the end of its driver", one.driver.unwrap())
        .await
        .unwrap();
    until(&other, "/share", |share| share["processes"] == 1).await;
}

#[tokio::test]
async fn upstreams_with_the_same_keys_share_with_those_of_their_name_only() {
    let upstream = Upstream::start().await;
    let text = ["chat", "other"].map(|name| {
        format!(
            "[[upstream]]\nname = \"{name}\"\nat = \"http://{}\"\nroutes = [\"/v1/{name}\"]\nkeys = [\"KEY_1\", \"KEY_2\"]\n",
            upstream.address
        )
    });
    let config = Config::parse(&text.concat()).unwrap();
    let engine = InMemory::new();
    let start = || run_shared(&config, "", Some(share(engine.clone(), Name::new("names"))));
    let gateways = [start().await, start().await];
    for gateway in &gateways {
        until(gateway, "/share", |share| share["processes"] == 2).await;
    }
    let mut caller = gateways[0].connect().await;
    caller
        .send(chat("large", "").replace("/v1/", "/v1/chat/"))
        .await;
    let rejected = response("401 Unauthorized", "connection: close\r\n", "{}");
    upstream.respond(&rejected).await;
    upstream.respond(&ok()).await;
    assert_eq!(caller.head().await.status(), 200);
    until(&gateways[1], "/keys", |keys| {
        keys[0]["keys"][0]["cooldown_is_remote"] == true
    })
    .await;
    for gateway in &gateways {
        let keys = gateway.json("/keys").await;
        assert_eq!(keys[1]["upstream"], "other");
        assert_eq!(keys[1]["keys"][0]["cooldown_reason"], json!(null));
    }
}

#[tokio::test]
async fn view_of_the_share_is_null_if_nothing_is_shared() {
    let upstream = Upstream::start().await;
    let gateway = run(&config("", &upstream), "").await;
    assert_eq!(gateway.json("/share").await, json!(null));
}
