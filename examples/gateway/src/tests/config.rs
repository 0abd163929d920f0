//! The error for a wrong configuration says what to do next, and never contains a key.

use std::path::Path;

use tracing::Level;

use super::{
    harness::variable,
    serve::{Config, Gateway, Mistakes, WITHOUT_FILE, metrics, share},
};

const GOOD: &str = r#"
[[upstream]]
name = "provider"
at = "http://127.0.0.1:1"
routes = ["/v1"]
keys = ["KEY_1", "KEY_2"]
"#;

fn start(text: &str) -> Result<Gateway, Mistakes> {
    start_with(&Config::parse(text)?, &variable)
}

fn start_with(
    config: &Config,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Gateway, Mistakes> {
    let counts = metrics::recorder().unwrap().handle();
    let shared = share::connect(config, variable)?;
    let sharing = shared.map(|(sharing, _)| sharing);
    Gateway::new(config, "http://127.0.0.1:2", variable, counts, sharing)
}

#[test]
fn sample_parses_as_it_is_and_with_every_default_written_out() {
    let text = include_str!("../../../gateway.toml");
    let sample = Config::parse(text).unwrap();
    assert_eq!(sample.upstreams.len(), 4);
    // A setting that is commented out has the form `# name = value`, which no sentence has.
    let is_setting = |line: &str| {
        let name = line.split_once(" = ").map(|(name, _)| name);
        name.is_some_and(|name| {
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        })
    };
    let uncommented = text.lines().map(|line| match line.strip_prefix("# ") {
        Some(rest) if is_setting(rest) || rest == "[mock]" => rest,
        _ => line,
    });
    let text: String = uncommented.map(|line| format!("{line}\n")).collect();
    let written = Config::parse(&text).unwrap();
    // The values in the comments are the defaults.
    let (mut sample, mut written) = (sample, written);
    assert_eq!(written.upstreams[0].deadline_ms, Some(120_000));
    (
        sample.upstreams[0].deadline_ms,
        written.upstreams[0].deadline_ms,
    ) = (None, None);
    assert_eq!(written.share.take().unwrap().variable(), Some("SHARE_URL"));
    assert_eq!(written.share_secret.take().unwrap(), "SHARE_SECRET");
    assert_eq!(written.upstreams[0].background_routes, ["/v1/responses"]);
    written.upstreams[0].background_routes.clear();
    assert_eq!(format!("{sample:?}"), format!("{written:?}"));
}

#[test]
fn sample_starts_if_its_keys_are_set() {
    let text = include_str!("../../../gateway.toml");
    let config = Config::parse(text).unwrap();
    let keys = |name: &str| Some(format!("sk-{name}"));
    // The test must not depend on the certificates of this machine.
    assert!(Gateway::mistakes(&config, "", &keys).is_empty());
    let text = text.replace("https://", "http://");
    let started = start_with(&Config::parse(&text).unwrap(), &keys);
    assert_eq!(started.unwrap().upstreams.len(), 4);
}

#[test]
fn sample_has_no_fallback_for_paths_without_chat_models() {
    let text = include_str!("../../../gateway.toml");
    // These addresses need no certificates of this machine.
    let config = Config::parse(&text.replace("https://", "http://")).unwrap();
    let gateway = start_with(&config, &|name| Some(format!("sk-{name}"))).unwrap();
    for (path, falls_back) in [
        ("/v1/chat/completions", true),
        ("/v1/responses", true),
        ("/v1/messages", true),
        ("/v1beta/models/gemini-2.5-pro:generateContent", true),
        ("/v1/embeddings", false),
        ("/v1/images/generations", false),
        ("/v1/files", false),
        ("/v1/models", false),
    ] {
        let name = &gateway.upstream(path).unwrap().name;
        let mut upstreams = config.upstreams.iter();
        let upstream = upstreams.find(|upstream| *upstream.name == **name).unwrap();
        assert_eq!(!upstream.fallback.is_empty(), falls_back, "{path}");
    }
}

#[test]
fn built_in_configuration_needs_no_environment_variable() {
    let config = Config::parse(WITHOUT_FILE).unwrap();
    assert!(start_with(&config, &|_| None).is_ok());
}

#[test]
fn each_error_says_what_to_do() {
    assert!(start(GOOD).is_ok());
    let table = [
        ("", "", "add an [[upstream]]"),
        ("routes = [\"/v1\"]", "", "say which paths do"),
        ("name = \"provider\"", "", "give each one of its own"),
        ("at = \"http://127.0.0.1:1\"", "", "https://host/path"),
        ("[\"/v1\"]", "[]", "say which paths do"),
        ("[\"/v1\"]", "[\"v1\"]", "does not begin with `/`"),
        ("[\"/v1\"]", "[\"/v1\", \"/v1\"]", "take it out"),
        ("\"provider\"", "\"a provider\"", "give each one of its own"),
        (
            "keys = [\"KEY_1\", \"KEY_2\"]",
            "",
            "name the environment variables",
        ),
        ("KEY_2", "KEY_9", "export the key"),
        ("KEY_2", "KEY_1", "names KEY_1 twice"),
        ("http://127.0.0.1:1", "127.0.0.1:1", "https://host/path"),
        ("http://127.0.0.1:1", "ftp://host", "https://host/path"),
        (
            "http://127.0.0.1:1",
            "http://me:pw@host",
            "https://host/path",
        ),
        ("keys", "kees", "unknown field `kees`"),
        ("at =", "at ==", "gateway.toml"),
        (
            "[[upstream]]",
            "max_connections = 0\n[[upstream]]",
            "above 0",
        ),
        (
            "[[upstream]]",
            "max_buffered_bytes = 2_097_151\n[[upstream]]",
            "at least 2097152",
        ),
        ("[[upstream]]", "log = \"inof\"\n[[upstream]]", "`info`"),
        (
            "[[upstream]]",
            "share = \"http://host\"\n[[upstream]]",
            "redis://127.0.0.1:6379",
        ),
        (
            "[[upstream]]",
            "share = \"NO_URL\"\n[[upstream]]",
            "export it, or change `share`",
        ),
        (
            "[[upstream]]",
            "share = \"redis://host\"\nshare_secret = \"NO_SECRET\"\n[[upstream]]",
            "export it, or change `share_secret`",
        ),
        (
            "[[upstream]]",
            "replicas = 0\n[[upstream]]",
            "this one included",
        ),
    ];
    for (good, bad, advice) in table {
        let text = if good.is_empty() {
            String::new()
        } else {
            GOOD.replace(good, bad)
        };
        let error = start(&text).err().expect(bad).to_string();
        assert!(error.contains(advice), "{bad}: {error}");
    }
    let more = [
        ("groups = { KEY_3 = \"team\" }", "take it out here"),
        (
            "fallback = [{ model = \"m\", at = \"host\" }]",
            "`fallback`",
        ),
        ("key_in = { header = \"x y\" }", "not valid"),
        ("key_in = \"cookie\"", "unknown variant"),
        ("fallback = [{ at = \"http://host\" }]", "names no model"),
        ("fallback = [\"m\"]", "expected a table"),
        ("max_wait_ms = -1", "a whole number of at least 0"),
        ("order = \"random\"", "`order` is not understood"),
        ("key_in = { header = 5 }", "`key_in` is not understood"),
        ("replay_limit_bytes = 300_000_000", "at least 300000000"),
        ("deadline_ms = 0", "take it out for no deadline"),
    ];
    for (line, advice) in more {
        let error = start(&format!("{GOOD}{line}\n"))
            .err()
            .expect(line)
            .to_string();
        assert!(error.contains(advice), "{line}: {error}");
    }
    let twice = format!("{GOOD}{GOOD}");
    assert!(start(&twice).is_err());
    let error = Config::read(Path::new("no such file"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("no such file") && error.contains("gateway.toml"),
        "{error}"
    );
}

#[test]
fn error_does_not_repeat_a_key_that_is_in_the_file_by_mistake() {
    for text in [
        GOOD.replace("KEY_2", "sk-leaked"),
        // This is a syntax error, too.
        GOOD.replace("\"KEY_2\"", "sk-leaked"),
        GOOD.replace("\"KEY_2\"", "\"sk-leaked"),
        GOOD.replace("keys = [\"KEY_1\", \"KEY_2\"]", "keys = \"sk-leaked\""),
        format!("{GOOD}sk-leaked = 1\n"),
        format!("{GOOD}key_in = \"sk-leaked\"\n"),
        GOOD.replace("http://127.0.0.1:1", "http://sk-leaked@host"),
        GOOD.replace("http://127.0.0.1:1", "http://host?key=sk-leaked"),
    ] {
        let error = start(&text).err().expect(&text);
        assert!(!error.to_string().contains("sk-leaked"), "{error}");
    }
}

#[test]
fn error_for_an_invalid_key_names_its_variable() {
    let config = Config::parse(GOOD).unwrap();
    let keys = |_: &str| Some(String::from("sk-secret with a space"));
    let error = start_with(&config, &keys).err().unwrap().to_string();
    assert!(
        error.contains("KEY_1") && error.contains("provider"),
        "{error}"
    );
    assert!(!error.contains("sk-secret"), "{error}");
}

#[test]
fn environment_variable_overrides_the_log_level_of_the_file() {
    let log = |setting: &str, variable: Option<&str>| {
        let config = Config::parse(&format!("{setting}{GOOD}")).unwrap();
        config.log.targets(variable).map(|targets| {
            let levels = [Level::WARN, Level::INFO, Level::DEBUG];
            let enabled = |target| levels.map(|level| targets.would_enable(target, &level));
            // The gateway's own events have the level of the layers' events.
            assert_eq!(enabled("tower_429::gateway"), enabled("tower_429"));
            enabled("tower_429")
        })
    };
    for (setting, variable, enabled) in [
        ("", None, [true, true, false]),
        ("", Some(""), [true, true, false]),
        ("log = \"off\"", None, [false; 3]),
        ("log = \"warn\"", None, [true, false, false]),
        ("log = \"debug\"", None, [true; 3]),
        ("log = \"off\"", Some("debug"), [true; 3]),
        (
            "log = \"debug\"",
            Some("off,tower_429=warn"),
            [true, false, false],
        ),
    ] {
        let seen = log(setting, variable).unwrap();
        assert_eq!(seen, enabled, "{setting} {variable:?}");
    }
    let error = log("", Some("tower_429=loud")).unwrap_err().to_string();
    assert!(error.contains("RUST_LOG"), "{error}");
}
