//! What gateways with the same keys share.

use std::time::Duration;

use tokio::{task::JoinHandle, time::timeout};
use tower_429::share::{Driver, Name, Sharing};

use super::config::{Config, ConfigError, Mistake, is_share_name, is_variable};

/// The longest that a stop waits for the last exchange. It is due at once, and fails after 100 ms.
const LAST_EXCHANGE: Duration = Duration::from_secs(1);

/// Returns what the upstreams share through, if the file says so, and the driver to spawn. It does not connect.
pub(crate) fn connect(
    config: &Config,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<(Sharing, Driver)>, Vec<Mistake>> {
    let Some(share) = &config.share else {
        return Ok(None);
    };
    let mut mistakes = Vec::new();
    let mut add = |setting: &'static str, error| {
        mistakes.extend(config.places.mistake(setting, error));
    };
    let not_set = |setting, variable| ConfigError::ShareVariable { setting, variable };
    // The rules have reported a name that cannot be used, and a secret that is no name of a variable.
    let name = Some(&*config.share_name).filter(|name| is_share_name(name));
    let mut name = Name::new(name.unwrap_or("invalid"));
    if let Some(secret) = config.share_secret.as_deref().filter(|it| is_variable(it)) {
        match variable(secret).filter(|secret| !secret.is_empty()) {
            Some(secret) => name = name.secret(secret),
            None => add("share_secret", not_set("share_secret", secret.into())),
        }
    }
    let shared = match share.url(variable) {
        Ok(url) => match tower_429_redis::connect(&url, name) {
            Ok(shared) => Some(shared),
            Err(error) => {
                add("share", ConfigError::ShareUrl(error));
                None
            }
        },
        Err(name) => {
            add("share", not_set("share", name));
            None
        }
    };
    match mistakes.is_empty() {
        true => Ok(shared),
        false => Err(mistakes),
    }
}

/// Waits for the last exchange, for a bounded time. All that shares must have been dropped.
pub(crate) async fn leave(driver: JoinHandle<()>) {
    // Without it, other gateways can use what this one has leased two seconds later.
    let _ = timeout(LAST_EXCHANGE, driver).await;
}
