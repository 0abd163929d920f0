//! The connection: made when it is needed, and again after it was lost.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use redis::{Cmd, RedisError, Value, aio::ConnectionLike};
use tokio::time::Instant;

use crate::{clock, error::ExchangeError};

/// An attempt to connect that takes longer has failed. A server far away needs three round trips with TLS.
const CONNECTS_WITHIN: Duration = Duration::from_secs(1);

/// A connection without a response for so long is lost, even if it was not closed.
const RESPONDS_WITHIN: Duration = Duration::from_secs(1);

/// The longest time between two attempts to connect. Jitter makes it shorter by up to a half.
const LONGEST_GAP: Duration = Duration::from_millis(500);

/// The time before the second attempt to connect. It doubles with each.
const FIRST_GAP: Duration = Duration::from_millis(50);

pub(crate) type Connection = Box<dyn ConnectionLike + Send + Sync>;
pub(crate) type Connecting = Pin<Box<dyn Future<Output = Result<Connection, RedisError>> + Send>>;

/// A server, or a cluster.
pub(crate) trait Connect: fmt::Debug + Send + Sync {
    fn connect(&self) -> Connecting;
}

/// The connection of one process. An attempt to connect goes on if a caller stops waiting.
pub(crate) struct Link {
    server: Box<dyn Connect>,
    state: LinkState,
    /// How many attempts to connect have failed since the last response.
    failures: u32,
}

enum LinkState {
    Closed {
        until: Option<Instant>,
    },
    Connecting {
        since: Instant,
        connecting: Connecting,
    },
    Open {
        connection: Connection,
        /// When the first request was sent that has no response.
        pending_since: Option<Instant>,
    },
}

// === impl Link ===

impl Link {
    pub(crate) fn new(server: Box<dyn Connect>) -> Self {
        Self {
            server,
            state: LinkState::Closed { until: None },
            failures: 0,
        }
    }

    /// Sends a command and returns its response.
    pub(crate) async fn send(&mut self, command: &Cmd) -> Result<Value, ExchangeError> {
        self.check(clock::now());
        poll_fn(|cx| self.poll_open(cx)).await?;
        let LinkState::Open {
            connection,
            pending_since,
        } = &mut self.state
        else {
            return Err(ExchangeError::Away);
        };
        pending_since.get_or_insert_with(clock::now);
        let response = connection.req_packed_command(command).await;
        *pending_since = None;
        let response = response.and_then(Value::extract_error);
        match &response {
            Ok(_) => self.failures = 0,
            Err(error) if keeps_connection(error) => self.failures = 0,
            Err(_) => self.close(clock::now()),
        }
        Ok(response?)
    }

    /// Closes a connection without a response, and ends an attempt to connect that takes too long.
    fn check(&mut self, now: Instant) {
        let is_lost = match &self.state {
            LinkState::Closed { .. } => false,
            LinkState::Connecting { since, .. } => now >= *since + CONNECTS_WITHIN,
            LinkState::Open { pending_since, .. } => {
                pending_since.is_some_and(|since| now >= since + RESPONDS_WITHIN)
            }
        };
        if is_lost {
            self.close(now);
        }
    }

    fn close(&mut self, now: Instant) {
        let gap = FIRST_GAP.saturating_mul(1 << self.failures.min(8));
        let gap = gap.min(LONGEST_GAP).mul_f64(0.5 + fastrand::f64() / 2.0);
        self.failures = self.failures.saturating_add(1);
        let until = Some(now + gap);
        self.state = LinkState::Closed { until };
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ExchangeError>> {
        loop {
            match &mut self.state {
                LinkState::Open { .. } => return Poll::Ready(Ok(())),
                LinkState::Closed { until } => {
                    let now = clock::now();
                    if until.is_some_and(|until| now < until) {
                        return Poll::Ready(Err(ExchangeError::Away));
                    }
                    self.state = LinkState::Connecting {
                        since: now,
                        connecting: self.server.connect(),
                    };
                }
                LinkState::Connecting { connecting, .. } => {
                    match std::task::ready!(connecting.as_mut().poll(cx)) {
                        Ok(connection) => {
                            self.state = LinkState::Open {
                                connection,
                                pending_since: None,
                            };
                        }
                        Err(error) => {
                            self.close(clock::now());
                            return Poll::Ready(Err(error.into()));
                        }
                    }
                }
            }
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

/// Returns whether another request on the same connection may have more success.
///
/// A server that has become a replica refuses to write. The name of the server may lead to another one by now.
fn keeps_connection(error: &RedisError) -> bool {
    let is_of_server = matches!(
        error.kind(),
        redis::ErrorKind::Server(_) | redis::ErrorKind::Extension
    );
    is_of_server && error.code() != Some("READONLY")
}
