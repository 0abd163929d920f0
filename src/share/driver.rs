//! The future that makes the exchanges, which the user spawns.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::{Instant, sleep_until, timeout};

use super::{
    SharingCore, SharingEvent,
    engine::Engine,
    lock,
    member::{Outbox, Update},
    message::{ExchangeRequest, ExchangeResponse},
    nudge::Urgency,
    timing::{
        AWAITED_GAP, FACTS_GAP, IDLE_GAP, KEPT_FOR, REPLICAS_LAST, RETRY_GAP, TIMEOUT, wanted_gap,
    },
};
use crate::clock;

/// Makes the exchanges of a [`Sharing`](super::Sharing), for as long as it is polled: spawn it.
///
/// It ends when the [`Sharing`](super::Sharing) and all that shares through it are dropped: a last exchange frees at
/// once what this process holds. While it is not polled, and after it was dropped, each pool does without the others.
#[must_use = "nothing is shared unless the driver is polled: spawn it"]
pub struct Driver(Pin<Box<dyn Future<Output = ()> + Send>>);

/// One process and its engine.
struct Exchanges<E> {
    core: Arc<SharingCore>,
    engine: E,
    number: u64,
    epoch: Option<u64>,
    newest_fact: u64,
    /// Whether places are kept that no call uses.
    keeps_places: bool,
    /// Whether calls wait, and requests of other processes are in flight that may leave more when they end.
    awaits_others: bool,
    /// How many exchanges in a row have granted nothing of what was wanted.
    refusals: u32,
    /// Whether the last exchange has succeeded.
    is_connected: bool,
}

// === impl Driver ===

impl Driver {
    pub(super) fn new(core: Arc<SharingCore>, engine: impl Engine) -> Self {
        let exchanges = Exchanges {
            core,
            engine,
            number: 0,
            epoch: None,
            newest_fact: 0,
            keeps_places: false,
            awaits_others: false,
            refusals: 0,
            is_connected: false,
        };
        Self(Box::pin(exchanges.run()))
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

// === impl Exchanges ===

impl<E: Engine> Exchanges<E> {
    async fn run(mut self) {
        loop {
            let began = clock::now();
            let is_last = self.core.has_ended();
            self.exchange(is_last).await;
            if is_last {
                return;
            }
            self.wait(began).await;
        }
    }

    /// Waits until the next exchange is due: the sooner, the more urgent it is.
    async fn wait(&mut self, began: Instant) {
        if !self.is_connected {
            let gap = RETRY_GAP.mul_f64(1.0 + fastrand::f64());
            return sleep_until(clock::now() + gap).await;
        }
        let mut timer = std::pin::pin!(sleep_until(began + IDLE_GAP));
        poll_fn(|cx| {
            let gap = match self.core.nudge.poll(cx.waker()) {
                Urgency::None if self.keeps_places => KEPT_FOR,
                Urgency::None if self.awaits_others => AWAITED_GAP,
                Urgency::None => IDLE_GAP,
                Urgency::Facts => FACTS_GAP,
                Urgency::Wanted => wanted_gap(self.refusals),
            };
            // The end may have been noted while an exchange was under way.
            let gap = if self.core.has_ended() {
                wanted_gap(0)
            } else {
                gap
            };
            let at = began + gap;
            if timer.deadline() != at {
                timer.as_mut().reset(at);
            }
            timer.as_mut().poll(cx)
        })
        .await;
    }

    async fn exchange(&mut self, is_last: bool) {
        self.core.nudge.reset();
        self.number += 1;
        let began = clock::now();
        let mut outbox = Outbox {
            now: began,
            number: self.number,
            epoch: self.epoch,
            new_limits: Vec::new(),
            limits: Vec::new(),
            keeps_places: false,
            awaits_others: false,
            wants: false,
        };
        for member in self.core.members() {
            member.fill(&mut outbox);
        }
        self.keeps_places = outbox.keeps_places;
        self.awaits_others = outbox.awaits_others;
        self.refusals = match outbox.wants {
            true => self.refusals + 1,
            false => 0,
        };
        let request = ExchangeRequest {
            epoch: self.epoch,
            newest_fact: self.newest_fact,
            new_limits: outbox.new_limits,
            limits: outbox.limits,
            is_last,
            ..ExchangeRequest::new(self.core.replica, self.number)
        };
        match timeout(TIMEOUT, self.engine.exchange(request)).await {
            Ok(Ok(response)) => {
                self.core.notify_observer(SharingEvent::Exchanged(true));
                self.receive(&response, began);
            }
            Ok(Err(error)) => self.disconnect(&error.to_string()),
            Err(_) => self.disconnect("it did not respond in time"),
        }
    }

    fn receive(&mut self, response: &ExchangeResponse, began: Instant) {
        let now = clock::now();
        (self.epoch, self.newest_fact) = (Some(response.epoch), response.newest_fact);
        self.is_connected = true;
        let replicas = u32::try_from(response.replicas.len()).unwrap_or(u32::MAX);
        *lock(&self.core.last_response) = Some((replicas, now));
        let update = Update::new(response, self.number, (began, now));
        for member in self.core.members() {
            member.receive(&update);
        }
        for (unit, grant) in response.limits.iter().flat_map(|limit| &limit.grants) {
            if grant.granted > 0 {
                self.keeps_places = true;
                self.refusals = 0;
                self.core
                    .notify_observer(SharingEvent::Granted(*unit, grant.granted));
            }
        }
        self.core.set_connected();
    }

    fn disconnect(&mut self, why: &str) {
        self.core.notify_observer(SharingEvent::Exchanged(false));
        let now = clock::now();
        self.is_connected = false;
        let known = self.core.last_response();
        let replicas = known.filter(|(_, at)| now < *at + REPLICAS_LAST);
        self.core.set_away(why);
        for member in self.core.members() {
            member.disconnect(replicas.map(|(count, _)| count), now);
        }
    }
}

impl<E> Drop for Exchanges<E> {
    fn drop(&mut self) {
        if self.core.has_ended() {
            // No pool is left that shares.
            return;
        }
        let now = clock::now();
        for member in self.core.members() {
            member.disconnect(None, now);
        }
        self.core.set_away("its driver was dropped");
    }
}
