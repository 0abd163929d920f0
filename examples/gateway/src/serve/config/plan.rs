//! A readable summary of what the gateway does with a configuration. It names keys by their labels.

use std::{fmt, time::Duration};

use super::{Config, KeyIn, Order, UpstreamConfig};
use crate::mock;

/// The summary that `--check` prints.
pub(crate) struct Plan<'a>(pub(crate) &'a Config);

impl fmt::Display for Plan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.0;
        let reach = match config.is_on_loopback() {
            true => "only this machine reaches it",
            false => "other machines reach it, and it does not authenticate callers",
        };
        writeln!(f, "listens at {}: {reach}", config.listen)?;
        writeln!(
            f,
            "takes up to {} connections, and {} for bodies of requests",
            config.max_connections,
            size(config.max_buffered_bytes)
        )?;
        if let Some(share) = &config.share {
            write!(
                f,
                "shares limits as {:?} through {share}",
                config.share_name
            )?;
            match &config.share_secret {
                Some(variable) => writeln!(f, ", with the secret in {variable}")?,
                None => writeln!(f, ", without a secret")?,
            }
        }
        if config.replicas > 1 {
            let when = match config.share {
                Some(_) => " while the server is away",
                None => "",
            };
            let replicas = config.replicas;
            writeln!(
                f,
                "takes its part of each limit as one of {replicas} gateways{when}"
            )?;
        }
        config
            .upstreams
            .iter()
            .try_for_each(|upstream| upstream_plan(f, upstream))
    }
}

fn upstream_plan(f: &mut fmt::Formatter<'_>, config: &UpstreamConfig) -> fmt::Result {
    let address = match config.is_mock() {
        true => "a mock in this process",
        false => &config.at,
    };
    writeln!(f, "\nupstream {} at {address}", config.name)?;
    writeln!(f, "  routes      {}", config.routes.join(", "))?;
    if !config.background_routes.is_empty() {
        let routes = config.background_routes.join(", ");
        writeln!(f, "  background  {routes}")?;
    }
    writeln!(f, "  keys        {}", keys(config).join(", "))?;
    let order = match config.order {
        Order::Sticky => "one until it is limited",
        Order::RoundRobin => "in turn",
        Order::LeastLoaded => "the one with the most capacity",
    };
    match &config.key_in {
        KeyIn::Bearer => writeln!(f, "  used        {order}, as `authorization: Bearer`")?,
        KeyIn::Header(name) => writeln!(f, "  used        {order}, in the header `{name}`")?,
        KeyIn::Query(name) => writeln!(f, "  used        {order}, in the parameter `{name}`")?,
    }
    if !config.fallback.is_empty() {
        let targets = config.fallback.iter();
        let targets: Vec<String> = targets
            .map(|target| match &target.at {
                Some(at) => format!("{} at {at}", target.model),
                None => target.model.clone(),
            })
            .collect();
        writeln!(f, "  fallback    {}", targets.join(", then "))?;
    }
    let deadline = match config.deadline_ms {
        Some(deadline) => format!("{:?}", Duration::from_millis(deadline)),
        None => "none".into(),
    };
    writeln!(
        f,
        "  bounds      {:?} for a wait, {} sends for a call, deadline {deadline}",
        Duration::from_millis(config.max_wait_ms),
        config.max_sends
    )
}

fn keys(config: &UpstreamConfig) -> Vec<String> {
    if config.keys.is_empty() {
        return mock::KEYS.map(|(label, _)| label.into()).into();
    }
    let keys = config.keys.iter();
    keys.map(|key| match config.groups.get(key) {
        Some(group) => format!("{key} (group {group})"),
        None => key.clone(),
    })
    .collect()
}

fn size(bytes: u64) -> String {
    const MIB: u64 = 1024 * 1024;
    match bytes % MIB {
        0 => format!("{} MiB", bytes / MIB),
        _ => format!("{bytes} bytes"),
    }
}
