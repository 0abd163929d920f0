//! Shares the limits of [`tower_429`] between processes, through Redis or Valkey.
//!
//! Without sharing, each process learns the limits of its keys alone, and uses all of each. With this package the
//! processes behave as one. They exchange what responses report, and lease what is left from the server. See
//! [`tower_429::share`] for what is shared, and for what happens while the server is away.
//!
//! ```
//! use tower_429::{KeyPool, share::Name};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let name = Name::new("prod/openai").secret("from the vault");
//! let (sharing, driver) = tower_429_redis::connect("redis://app:password@127.0.0.1:6379", name)?;
//! tokio::spawn(driver);
//! let pool = KeyPool::builder(["sk-1", "sk-2"])
//!     .for_origin("https://api.openai.com")
//!     .replicas(4) // what each of four processes takes while the server is away
//!     .shared(sharing)
//!     .build()?;
//! assert_eq!(pool.snapshot().len(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it needs of the server
//!
//! Redis 6 or later, or Valkey; no module and no setting. Each exchange is one `EVAL` of the same script. It needs
//! neither `SCRIPT` nor `EVALSHA`, which some proxies refuse, nor Pub/Sub. The commands of the script need the
//! server's clock: a server that refuses `TIME` in scripts cannot be used. The clock may be wrong, and may jump while
//! the processes run. A user needs these rights, here for the name `prod/openai`:
//!
//! ```text
//! ACL SETUSER app on >password ~t429:1:{prod/openai}* -@all +eval +time +hget +hmget +hset +hdel +zadd +zscore
//!     +zrangebyscore +zrem +pexpire +del
//! ```
//!
//! RESP3 (`?protocol=resp3` in the URL) needs `+hello` too, another database than 0 `+select`, and a cluster
//! `+cluster|slots`.
//!
//! # What it keeps there
//!
//! Three keys for each name, which begin with `t429:1:{name}`. The `1` is the version of the layout: another version
//! has another number, so that old and new processes do not disturb each other during a deployment. All keys of a
//! name are on one node of a cluster, because of the braces. Characters of a name that mean something there are
//! replaced, such as `}` by `%7D`.
//!
//! - Each key expires about 24 hours and a minute after the last exchange.
//! - Limits and processes are numbers: a keyed hash and a random number. No key, label, model or address is sent.
//! - A fact has at most 8 KiB, and usually about 200 bytes. A process that ends leaves it there only as long as a
//!   rejection closes the limit, or a reported window lasts. Of such processes at most 128 facts on a limit are kept.
//!   A limit that no process has used for a minute, and on which no fact is left, is removed.
//! - At most 1,024 processes can share.
//!
//! The keys may be deleted at any time: the server then grants nothing for 0.3 s, until the processes have reported
//! what they hold. The same happens after a restart without persistence, and after a failover or a restore that has lost
//! facts which a process has received.
//!
//! # When the server is away
//!
//! No call waits for it. The first connection is made when the driver is polled, so an absent server neither delays
//! nor fails a start. An exchange without a response after 100 ms has failed. A connection without a response for a
//! second is given up. The gap between two attempts to connect doubles from 50 to 500 ms, less up to a half by jitter,
//! so that many processes do not connect at once.
//!
//! The server may execute an exchange after its timeout, when it was frozen. So each has a number: the server ignores
//! one that is not greater than the last of its process, and what it grants belongs to a process that reports in each
//! exchange what it holds.
//!
//! An attacker who can write into the server can make processes wait, at most for 24 hours, or send requests that are
//! rejected, but can neither crash them nor learn a key. With [`Name::secret`] the attacker cannot find out either
//! whether a known key is used.
//!
//! # Runtime
//!
//! The driver must be polled in a runtime of tokio with I/O and time; it panics in another one. The client of Redis
//! spawns a task there for its connection, which ends with the driver.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `tls` | URLs with `rediss://` and `valkeys://`, by rustls with the certificates of the system |
//! | `cluster` | [`connect_cluster`] |
//!
//! With `tls`, [`connect`] makes ring the provider of cryptography of the process if the program has not chosen one.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod clock;
#[cfg(feature = "cluster")]
mod cluster;
mod codec;
mod command;
mod engine;
mod error;
mod keys;
mod link;
mod reply;
mod server;
#[cfg(test)]
mod tests;
mod unit;

use tower_429::share::{Driver, Name, Sharing, share};

pub use self::error::Error;
use self::{engine::RedisEngine, server::OneServer};

/// Returns what pools and layers share through, and the driver to spawn.
///
/// The URL is `redis://user:password@host:port/database`, `rediss://` with TLS (feature `tls`), or `unix:` with a path.
/// The schemes of Valkey work too.
///
/// ```
/// use tower_429::share::Name;
/// use tower_429_redis::connect;
///
/// // Nothing listens on this port.
/// assert!(connect("redis://127.0.0.1:1", Name::new("prod/openai")).is_ok());
/// let error = connect("http://127.0.0.1", Name::new("prod/openai")).unwrap_err();
/// assert!(error.to_string().starts_with("the URL of the server is not valid"));
/// ```
///
/// # Errors
///
/// If the URL cannot be read, or if the name is empty or has more than 128 bytes. A server that cannot be reached is
/// no error.
pub fn connect(url: &str, name: Name) -> Result<(Sharing, Driver), Error> {
    let engine = RedisEngine::new(Box::new(OneServer::new(url)?), &name)?;
    Ok(share(engine, name))
}

/// Does the same as [`connect`] for a cluster. The URLs name some of its nodes.
///
/// All of a name is on one node. Another node takes over when that fails, as for all keys of the cluster.
///
/// ```
/// use tower_429::share::Name;
/// use tower_429_redis::connect_cluster;
///
/// let nodes = ["redis://10.0.0.1:6379", "redis://10.0.0.2:6379"];
/// assert!(connect_cluster(nodes, Name::new("prod/openai")).is_ok());
/// assert!(connect_cluster([], Name::new("prod/openai")).is_err());
/// ```
///
/// # Errors
///
/// As [`connect`], and if there is no URL, or if the URLs have different users.
#[cfg(feature = "cluster")]
#[cfg_attr(docsrs, doc(cfg(feature = "cluster")))]
pub fn connect_cluster<'a>(
    urls: impl IntoIterator<Item = &'a str>,
    name: Name,
) -> Result<(Sharing, Driver), Error> {
    let engine = RedisEngine::new(Box::new(cluster::Cluster::new(urls)?), &name)?;
    Ok(share(engine, name))
}

/// The program of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[derive(Debug)]
pub struct Readme;
