use std::{fmt, io, path::PathBuf};

use tower_429::{fallback::TargetError, key_rotation::PoolError};

/// Why the gateway does not start, and what to do next. It never contains a key.
#[derive(Debug)]
pub(crate) enum ConfigError {
    CannotRead {
        path: PathBuf,
        error: io::Error,
    },
    /// The text is not TOML.
    Syntax {
        message: String,
    },
    /// A setting is unknown or has a wrong type.
    Setting {
        /// Its name. It is left out if it may be a key by mistake.
        name: Option<String>,
        message: String,
    },
    NoUpstream,
    NoConnections,
    Buffers {
        largest: u64,
    },
    Name {
        upstream: String,
    },
    NoRoute {
        upstream: String,
    },
    Route {
        upstream: String,
        route: String,
    },
    BackgroundRoute {
        upstream: String,
        route: String,
    },
    Deadline {
        upstream: String,
    },
    NoKeys {
        upstream: String,
    },
    NotAVariable {
        upstream: String,
        number: usize,
    },
    GroupOfNone {
        upstream: String,
    },
    VariableNotSet {
        upstream: String,
        variable: String,
    },
    Address {
        upstream: String,
    },
    /// The same variable is named twice.
    Twice {
        upstream: String,
        variable: String,
    },
    NoModel {
        upstream: String,
    },
    Pool {
        upstream: String,
        error: PoolError,
    },
    Target {
        upstream: String,
        error: TargetError,
    },
    /// The URL in `share` cannot be read.
    ShareUrl(tower_429_redis::Error),
    ShareName,
    ShareSecret,
    /// A setting has no effect without `share`.
    NotShared {
        setting: &'static str,
    },
    /// An environment variable that a setting of the share names is not set.
    ShareVariable {
        setting: &'static str,
        variable: String,
    },
    NoReplicas,
    Log,
    /// No certificate that the system trusts can be read.
    Certificates(io::Error),
}

// === impl ConfigError ===

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CannotRead { path, error } => write!(
                f,
                "cannot read {}: {error}. The argument is the path of a TOML file; \
                 examples/gateway.toml is one to begin with",
                path.display()
            ),
            Self::Syntax { message } => write!(
                f,
                "this is not TOML: {message}. The settings are checked once it is; \
                 examples/gateway.toml explains every setting"
            ),
            Self::Setting { name, message } => {
                if let Some(name) = name {
                    write!(f, "`{name}` is not understood: ")?;
                }
                write!(f, "{message}. examples/gateway.toml explains every setting")
            }
            Self::NoUpstream => f.write_str("there is nowhere to forward to: add an [[upstream]]"),
            Self::NoConnections => f.write_str(
                "`max_connections` is 0, so no caller could connect: give it a whole number above 0",
            ),
            Self::Buffers { largest } => write!(
                f,
                "`max_buffered_bytes` is less than one request may take: give it at least {largest}, the largest of \
                 2097152 and all `replay_limit_bytes`"
            ),
            Self::Name { upstream } => write!(
                f,
                "{upstream:?} is no name for an upstream: give each one of its own, of letters, \
                 digits, `-`, `_` and `.`"
            ),
            Self::NoRoute { upstream } => write!(
                f,
                "nothing goes to upstream {upstream}: say which paths do, as in routes = [\"/v1\"]"
            ),
            Self::Route { upstream, route } => write!(
                f,
                "the route {route:?} of upstream {upstream} does not begin with `/`, or another \
                 upstream has it already: change it or take it out"
            ),
            Self::BackgroundRoute { upstream, route } => write!(
                f,
                "the background route {route:?} is not within the `routes` of upstream {upstream}: add it there, or \
                 take it out here"
            ),
            Self::Deadline { upstream } => write!(
                f,
                "`deadline_ms` of upstream {upstream} is 0, so no response would be in time: give \
                 it a whole number above 0, or take it out for no deadline"
            ),
            Self::NoKeys { upstream } => write!(
                f,
                "upstream {upstream} has no keys: name the environment variables that hold them, \
                 as in keys = [\"OPENAI_KEY_1\"]"
            ),
            Self::NotAVariable { upstream, number } => write!(
                f,
                "entry {number} of `keys` of upstream {upstream} is no name of an environment \
                 variable (A-Z, 0-9, _). If it is a key: put it into a variable, name that here, \
                 and replace the key if the file was shared"
            ),
            Self::GroupOfNone { upstream } => write!(
                f,
                "`groups` of upstream {upstream} names a variable that is not in its `keys`: add \
                 it there or take it out here"
            ),
            Self::VariableNotSet { upstream, variable } => write!(
                f,
                "the environment variable {variable} is not set: export the key in it, or take it \
                 out of `keys` of upstream {upstream}"
            ),
            Self::Address { upstream } => write!(
                f,
                "`at` of upstream {upstream} is not of the form https://host or \
                 https://host/path, without user, query and slash at the end"
            ),
            Self::Twice { upstream, variable } => write!(
                f,
                "`keys` of upstream {upstream} names {variable} twice: take one out"
            ),
            Self::NoModel { upstream } => write!(
                f,
                "an entry of `fallback` of upstream {upstream} names no model: give it one, as in \
                 {{ model = \"gpt-4o-mini\" }}"
            ),
            Self::Pool { upstream, error } => write!(f, "keys of upstream {upstream}: {error}"),
            Self::Target { upstream, error } => {
                write!(f, "`fallback` of upstream {upstream}: {error}")
            }
            Self::ShareUrl(error) => write!(
                f,
                "`share`: {error}. Give it the URL of a server, as in \"redis://127.0.0.1:6379\", or name the \
                 environment variable that holds it"
            ),
            Self::ShareName => f.write_str(
                "`share_name` is empty or longer than 128 bytes: give it a name that all gateways with these keys use",
            ),
            Self::ShareSecret => f.write_str(
                "`share_secret` is no name of an environment variable (A-Z, 0-9, _). If it is the secret: put it \
                 into a variable, and name that here",
            ),
            Self::NotShared { setting } => write!(
                f,
                "`{setting}` has no effect without `share`: add share = \"redis://...\", or take `{setting}` out"
            ),
            Self::ShareVariable { setting, variable } => write!(
                f,
                "the environment variable {variable} is not set: export it, or change `{setting}`"
            ),
            Self::NoReplicas => f.write_str(
                "`replicas` is 0: give it the number of gateways that send with the same keys, this one included",
            ),
            Self::Log => f.write_str(
                "RUST_LOG is not understood: set it to a level, such as `debug`, or to levels of \
                 targets, such as `warn,tower_429=info`",
            ),
            Self::Certificates(error) => write!(
                f,
                "no certificate can be read to verify https upstreams: {error}. Install the \
                 system's certificates (on Debian: ca-certificates), or set SSL_CERT_FILE to a file of them"
            ),
        }
    }
}

impl std::error::Error for ConfigError {}

impl ConfigError {
    /// Returns an error with the parser's message. Values are left out, because one may be a key by mistake.
    pub(super) fn syntax(message: &str) -> Self {
        Self::Syntax {
            message: in_plain_words(&without_values(message)),
        }
    }

    /// Returns an error about the setting with this name. Values are left out too.
    pub(super) fn setting(name: Option<&str>, message: &str) -> Self {
        let has_name = message.starts_with("unknown field");
        Self::Setting {
            name: name
                .filter(|name| is_setting(name) && !has_name)
                .map(String::from),
            message: in_plain_words(&without_values(message)),
        }
    }
}

/// Words of the parser, and their meaning for a user of the file.
const TYPES: [(&str, &str); 13] = [
    (", expected nothing", ""),
    (
        "invalid socket address syntax",
        "expected an IP address and a port, as in \"127.0.0.1:4290\"",
    ),
    ("expected u64", "expected a whole number of at least 0"),
    ("expected u32", "expected a whole number of at least 0"),
    ("expected usize", "expected a whole number of at least 0"),
    ("expected a sequence", "expected a list"),
    (
        "expected a map",
        "expected a table, as in { name = \"...\" }",
    ),
    ("expected a string", "expected a text, as in \"...\""),
    (
        "struct FallbackConfig",
        "a table, as in { model = \"...\" }",
    ),
    ("struct UpstreamConfig", "a table [[upstream]]"),
    ("struct Settings", "a table [mock]"),
    ("invalid type: sequence", "invalid type: list"),
    ("invalid type: map", "invalid type: table"),
];

fn in_plain_words(message: &str) -> String {
    let mut message = message.to_owned();
    for (serde, plain) in TYPES {
        message = message.replace(serde, plain);
    }
    message
}

/// Returns whether a text may be the name of a setting. A key never looks like one.
fn is_setting(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// Removes quoted values from a message of the parser. The names of settings stay.
fn without_values(message: &str) -> String {
    let mut kept = String::new();
    let mut rest = message;
    while let Some(start) = rest.find(['"', '`']) {
        let (before, quoted) = rest.split_at(start);
        let quote = &quoted[..1];
        let (value, after) = quoted[1..].split_once(quote).unwrap_or((&quoted[1..], ""));
        let value = match quote == "`" && is_setting(value) {
            true => value,
            false => "...",
        };
        kept.extend([before, quote, value, quote]);
        rest = after;
    }
    kept + rest
}
