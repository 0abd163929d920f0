//! `--check` reports every mistake of a configuration with its line, or prints a summary of a valid one.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{
    harness::variable,
    serve::{Config, Gateway, Mistakes, Plan},
};

const BAD: &str = r#"listen = "localhost:4290"
max_connections = 0
lgo = "info"
share = "redis://me:sk-leaked@host:port"
share_name = ""
share_secret = "sk-leaked"
replicas = 0

[[upstream]]
name = "a b"
at = "https://host/?key=sk-leaked"
routes = ["v1", "/v1/x"]
kees = ["KEY_1"]
keys = [
    "KEY_1",
    "sk-leaked",
    "KEY_1",
    "KEY_9",
]
groups = { OTHER = "team" }
deadline_ms = "5"
key_in = { heder = "x-api-key" }
fallback = [
    { at = "https://host" },
    { model = "m", at = "host" },
]
background_routes = ["/v2"]

[[upstream]]
at = "mock"
max_wait_ms = -1
order = "random"

[mock]
window_ms = "15s"
"#;

/// Returns the lines that `--check` prints for a file with mistakes.
fn mistakes(text: &str) -> Vec<String> {
    // The tests run concurrently in one process, so each needs its own file.
    static FILES: AtomicUsize = AtomicUsize::new(0);
    let (process, number) = (std::process::id(), FILES.fetch_add(1, Ordering::Relaxed));
    let dir = std::env::temp_dir().join(format!("tower-429-check-{process}-{number}"));
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("gateway.toml");
    std::fs::write(&file, text).unwrap();
    let read = Config::read(&file);
    std::fs::remove_dir_all(&dir).unwrap();
    let mistakes = read.and_then(|(config, mut mistakes)| {
        mistakes.extend(Gateway::mistakes(&config, "http://127.0.0.1:1", &variable));
        Mistakes::none_of(mistakes)
    });
    let text = mistakes.unwrap_err().to_string();
    let name = file.display().to_string();
    let lines = text.lines();
    lines.map(|line| line.replace(&name, "FILE")).collect()
}

#[test]
fn every_mistake_is_reported_with_its_line() {
    let found = mistakes(BAD);
    let starts = [
        "25 mistakes",
        "FILE:1: `listen` is not understood: expected an IP address and a port",
        "FILE:2: `max_connections` is 0",
        "FILE:3: unknown field `lgo`, expected one of `listen`",
        "FILE:4: `share`: the URL of the server is not valid",
        "FILE:5: `share_name` is empty",
        "FILE:6: `share_secret` is no name of an environment variable",
        "FILE:7: `replicas` is 0",
        "FILE:10: \"a b\" is no name for an upstream",
        "FILE:11: `at` of upstream a b is not of the form https://host",
        "FILE:12: the route \"v1\" of upstream a b does not begin with `/`",
        "FILE:13: unknown field `kees`, expected one of `name`",
        "FILE:16: entry 2 of `keys` of upstream a b is no name of an environment variable",
        "FILE:17: `keys` of upstream a b names KEY_1 twice",
        "FILE:18: the environment variable KEY_9 is not set",
        "FILE:20: `groups` of upstream a b names a variable that is not in its `keys`",
        "FILE:21: `deadline_ms` is not understood: invalid type: string \"...\", expected a whole number",
        "FILE:22: `key_in` is not understood: unknown variant `heder`, expected one of `bearer`",
        "FILE:24: an entry of `fallback` of upstream a b names no model",
        "FILE:25: `fallback` of upstream a b: the address of a target",
        "FILE:27: the background route \"/v2\" is not within the `routes`",
        "FILE:29: \"\" is no name for an upstream",
        "FILE:29: nothing goes to upstream 2",
        "FILE:31: `max_wait_ms` is not understood",
        "FILE:32: `order` is not understood",
        "FILE:35: `window_ms` is not understood",
    ];
    for (line, start) in found.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}\nis not\n{start}");
    }
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    assert!(!found.concat().contains("sk-leaked"), "{found:#?}");
}

#[test]
fn every_line_that_is_not_toml_is_reported() {
    let found = mistakes("listen = 127.0.0.1\n[[upstream]\nname == \"x\"\nat = \"mock\"\n");
    let starts = [
        "3 mistakes",
        "FILE:1: this is not TOML",
        "FILE:2: ",
        "FILE:3: ",
    ];
    for (line, start) in found.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
    assert_eq!(found.len(), starts.len(), "{found:#?}");
}

#[test]
fn a_setting_that_is_not_understood_is_one_mistake() {
    for (setting, line) in [
        ("routes = \"/v1\"\nkeys = [\"KEY_1\"]", 4),
        ("routes = [\"/v1\"]\nkeys = \"KEY_1\"", 5),
        ("keys = [\"KEY_1\"]\nroutes = [\"/v1\", 2]", 5),
        ("keys = [\"KEY_1\"]\nroutes = [\"/v1\"]\nkey_in = {}", 6),
        (
            "keys = [\"KEY_1\"]\nroutes = [\"/v1\"]\nkey_in = { header = 1 }",
            6,
        ),
        (
            "keys = [\"KEY_1\"]\nroutes = [\"/v1\"]\nfallback = [{ model = 1 }]",
            6,
        ),
    ] {
        let text = format!("[[upstream]]\nname = \"a\"\nat = \"http://host\"\n{setting}\n");
        let found = mistakes(&text);
        let [found] = found.as_slice() else {
            panic!("{setting}: {found:#?}");
        };
        assert!(
            found.starts_with(&format!("FILE:{line}: ")),
            "{setting}: {found}"
        );
    }
}

#[test]
fn plan_shows_where_limits_are_shared_and_no_password() {
    let plan = |settings: &str| {
        let upstream = "[[upstream]]\nname = \"a\"\nat = \"http://host\"\nroutes = [\"/v1\"]\nkeys = [\"KEY_1\"]\n";
        let config = Config::parse(&format!("{settings}\n{upstream}")).unwrap();
        // `Debug` output may be logged.
        let texts = [Plan(&config).to_string(), format!("{config:?}")];
        assert!(!texts.concat().contains("leaked"), "{texts:?}");
        let lines = texts[0].lines().skip(2);
        let lines: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
        lines.join("\n")
    };
    assert_eq!(plan(""), "");
    for (url, shown) in [
        ("redis://10.0.0.1", "redis://10.0.0.1"),
        ("rediss://me:leaked@host:6380/2", "rediss://host:6380/2"),
        (
            "redis://:le%40aked@[::1]:1?protocol=resp3",
            "redis://[::1]:1",
        ),
        ("redis://:leaked@leaked@host", "redis://host"),
        (
            "unix:///run/redis.sock?pass=leaked",
            "unix:///run/redis.sock",
        ),
        ("SHARE_URL", "the server in SHARE_URL"),
    ] {
        let expected =
            format!("shares limits as \"tower-429-gateway\" through {shown}, without a secret");
        assert_eq!(plan(&format!("share = \"{url}\"")), expected);
    }
    assert_eq!(
        plan(
            "share = \"SHARE_URL\"\nshare_name = \"prod\"\nshare_secret = \"SHARE_SECRET\"\nreplicas = 3"
        ),
        "shares limits as \"prod\" through the server in SHARE_URL, with the secret in SHARE_SECRET\n\
         takes its part of each limit as one of 3 gateways while the server is away"
    );
    assert_eq!(
        plan("replicas = 3"),
        "takes its part of each limit as one of 3 gateways"
    );
}

#[test]
fn settings_of_a_share_without_a_server_are_mistakes() {
    let found = mistakes(
        "share_name = \"prod\"\nshare_secret = \"KEY_1\"\n[[upstream]]\nname = \"a\"\nat = \"http://host\"\n\
         routes = [\"/v1\"]\nkeys = [\"KEY_1\"]\n",
    );
    let starts = [
        "2 mistakes",
        "FILE:1: `share_name` has no effect without `share`",
        "FILE:2: `share_secret` has no effect without `share`",
    ];
    for (line, start) in found.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
    assert_eq!(found.len(), starts.len(), "{found:#?}");
}

#[test]
fn plan_names_address_routes_and_keys_and_no_secret() {
    let config = Config::parse(
        "listen = \"0.0.0.0:80\"\n[[upstream]]\nname = \"a\"\nat = \"http://host/base\"\n\
         routes = [\"/v1\", \"/v2\"]\nbackground_routes = [\"/v2\"]\nkeys = [\"KEY_1\", \"KEY_2\"]\n\
         groups = { KEY_2 = \"team\" }\nkey_in = { query = \"key\" }\norder = \"round_robin\"\n\
         fallback = [{ model = \"small\" }, { model = \"other\", at = \"http://other\" }]\n\
         max_wait_ms = 1500\nmax_sends = 3\ndeadline_ms = 60000\n\
         [[upstream]]\nname = \"b\"\nat = \"mock\"\nroutes = [\"/v3\"]\n",
    );
    let plan = Plan(&config.unwrap()).to_string();
    let expected = "\
listens at 0.0.0.0:80: other machines reach it, and it does not authenticate callers
takes up to 1024 connections, and 256 MiB for bodies of requests

upstream a at http://host/base
  routes      /v1, /v2
  background  /v2
  keys        KEY_1, KEY_2 (group team)
  used        in turn, in the parameter `key`
  fallback    small, then other at http://other
  bounds      1.5s for a wait, 3 sends for a call, deadline 60s

upstream b at a mock in this process
  routes      /v3
  keys        alpha, beta, gamma
  used        one until it is limited, as `authorization: Bearer`
  bounds      30s for a wait, 8 sends for a call, deadline none
";
    assert_eq!(plan, expected);
}
