//! Which key sends next: the pool's choice, and what the outcome says of the key that was used.

mod next;
mod report;

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Extensions, request};
use http_body::Body;
use tokio::time::Instant;

use super::{
    KeyPool, OwnKey, PinnedKey, Session, WhenExhausted,
    layer::KeyRotationLayer,
    pool::{KeyRequest, Keys, Lease},
};
use crate::{
    call::{CallState, Head, Route},
    clock::after,
    quota::{QueuePlace, WaitBudget, Waiter},
    request::Model,
    retry::{CommonSettings, Config, Decision, Outcome, Prepare, RequestView, Strategy},
    telemetry,
    trail::{LayerKind, StopReason},
};
use report::{Last, report};

pub(crate) struct KeyRotationStrategy<X> {
    policy: Arc<KeyRotationLayer<X>>,
    stage: KeyStage,
    request: KeyRequest,
    waits: WaitBudget,
    /// Whether the request keeps the caller's credential.
    has_own_key: bool,
}

enum KeyStage {
    /// Nothing was chosen yet.
    New,
    /// No pool has a key for this request: it passes through.
    Keyless,
    /// In the queue for a key.
    Waiting(KeyPool, Waiter<Keys>),
    /// A key is reserved, and the request departs at this moment.
    Reserved(KeyPool, Lease, Instant),
    /// The key of the send that is in progress.
    Leased(KeyPool, Lease),
    /// The key was rejected, and the call is to wait for one.
    Rejected(KeyPool),
}

impl<X> Config for KeyRotationLayer<X> {
    const LAYER: LayerKind = LayerKind::KeyRotation;
    type Strategy = KeyRotationStrategy<X>;

    fn strategy(config: Arc<Self>) -> Self::Strategy {
        KeyRotationStrategy::new(config)
    }

    fn settings(&self) -> &CommonSettings {
        &self.settings
    }
}

impl<X> KeyRotationStrategy<X> {
    pub(super) fn new(policy: Arc<KeyRotationLayer<X>>) -> Self {
        Self {
            policy,
            stage: KeyStage::New,
            request: KeyRequest::default(),
            waits: WaitBudget::default(),
            has_own_key: false,
        }
    }

    fn pool(&mut self, head: &Head, route: &Route, extensions: &Extensions) -> Option<KeyPool> {
        self.has_own_key = extensions.get::<OwnKey>().is_some();
        if self.has_own_key {
            return None;
        }
        let (origin, addressed) = (head.origin.as_ref(), route.original_origin.as_ref());
        let pinned = extensions.get::<PinnedKey>();
        // First, because the first request that a pool serves binds it to an origin.
        let has_key = |pool: &&KeyPool| pinned.is_none_or(|key| pool.has_key(key.label()));
        let mut pools = self.policy.pools.iter().filter(has_key);
        // A key that could not be put on the request would be blamed for the response.
        let serves = |pool: &&KeyPool| pool.fits(&head.uri) && pool.serves(origin, addressed);
        pools.find(serves).cloned()
    }

    /// Returns until when this call may wait, if it may at all.
    fn max_wait<R>(&mut self, call: &CallState, now: Instant) -> Option<Instant>
    where
        X: WhenExhausted<R>,
    {
        let end = after(now, self.policy.max_wait?);
        Some(self.waits.end(end, call.left(now).ok()?, now))
    }
}

impl<X: WhenExhausted<R>, R, E> Strategy<R, E> for KeyRotationStrategy<X> {
    fn settings(&self) -> &CommonSettings {
        &self.policy.settings
    }

    fn poll_prepare<B>(&mut self, draft: &RequestView<B>, cx: &mut Context<'_>) -> Poll<Prepare<R>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (call, now) = (&draft.call, draft.now());
        loop {
            match &mut self.stage {
                KeyStage::Keyless => return Poll::Ready(Prepare::Send),
                KeyStage::Leased(_, lease) => {
                    lease.set_sent(now);
                    return Poll::Ready(Prepare::Send);
                }
                KeyStage::Reserved(_, _, at) if *at > now => {
                    return Poll::Ready(Prepare::WaitUntil(*at));
                }
                // It may go stale until the service is ready.
                KeyStage::Reserved(..) if !draft.is_ready => return Poll::Ready(Prepare::Send),
                KeyStage::Reserved(..) => {
                    let stage = mem::replace(&mut self.stage, KeyStage::New);
                    if let KeyStage::Reserved(pool, lease, _) = stage {
                        if let Some(answer) = self.confirm::<R>(pool, lease, call, now) {
                            return Poll::Ready(answer);
                        }
                    }
                }
                KeyStage::New => match self.pool(&draft.head, &draft.route, &draft.extensions) {
                    None => self.stage = KeyStage::Keyless,
                    Some(pool) => {
                        self.request = ready!(key_request(&pool, draft, cx));
                        let precise = || pool.demand(draft, true);
                        if let Some(answer) = self.first::<R>(&pool, precise, call, now) {
                            return Poll::Ready(answer);
                        }
                    }
                },
                KeyStage::Rejected(pool) => {
                    if self.request.demand.is_rough() {
                        self.request.demand = pool.demand(draft, true);
                    }
                    let waiter = pool.enqueue(&self.request, QueuePlace::Again, now);
                    self.stage = KeyStage::Waiting(pool.clone(), waiter);
                }
                KeyStage::Waiting(pool, waiter) => {
                    let (pool, polled) = (pool.clone(), waiter.poll_acquire(cx, now));
                    if let Some(answer) = self.polled::<R>(pool, polled, call, now) {
                        return Poll::Ready(answer);
                    }
                }
            }
        }
    }

    fn rewrite(
        &mut self,
        head: &mut request::Parts,
        route: &mut Route,
        call: &CallState,
    ) -> Option<Bytes> {
        if let KeyStage::Leased(_, lease) = &mut self.stage {
            call.add_placed(lease.place(head));
            route.key = Some(lease.candidate().label().clone());
            route.cost = lease.cost().or(route.cost);
        }
        None
    }

    fn decide(&mut self, outcome: &Outcome<'_, E>) -> Decision {
        let helps = outcome.rejection.filter(|it| it.another_key_helps());
        // The key is released with the response, however long the caller keeps the future.
        let KeyStage::Leased(pool, lease) = mem::replace(&mut self.stage, KeyStage::Keyless) else {
            return match helps {
                Some(_) if !self.has_own_key => Decision::Stop(StopReason::NoKeyForOrigin),
                _ => Decision::Ignore,
            };
        };
        let left = match helps {
            Some(_) => outcome
                .left()
                .map(|_| self.max_wait::<R>(outcome.call, outcome.now())),
            None => Ok(None),
        };
        let request = &mut self.request;
        let mut notices = Vec::new();
        let (last, next) = outcome.complete(lease, |inner, reservation| {
            let last = report(inner, reservation, request, outcome);
            notices = inner.candidates.take_notices();
            let (Ok(end), true) = (left, helps.is_some() && last != Last::Without) else {
                return (last, None);
            };
            request.tried.push(reservation.candidate.id());
            let next = next::reserve(inner, request, last, end, outcome.now());
            (last, Some(next))
        });
        telemetry::log_keys(&notices);
        match (left, next) {
            (_, None) if helps.is_none() || last == Last::Without => Decision::Ignore,
            (Err(why), _) => Decision::Stop(why),
            (_, None) => Decision::Ignore,
            (Ok(end), Some(next)) => self.next::<R>(pool, next, last, end, outcome.now()),
        }
    }
}

/// Returns what the request needs of the pool.
fn key_request<B>(pool: &KeyPool, draft: &RequestView<B>, cx: &mut Context<'_>) -> Poll<KeyRequest>
where
    B: Body<Data = Bytes> + Unpin,
{
    // What an outer layer has read is not read again.
    let named = draft.route.model.clone();
    let named = named.or_else(|| Model::in_path(&draft.head.uri)?.name());
    let model = match named {
        None if draft.recording.in_memory() => {
            let body = ready!(draft.recording.poll_whole(cx));
            body.and_then(|body| Model::in_body(&draft.head.headers, &body).name())
        }
        named => named,
    };
    Poll::Ready(KeyRequest {
        model,
        tried: Vec::new(),
        session: draft.extensions.get::<Session>().map(Session::id),
        demand: pool.demand(draft, false),
        pinned: draft.extensions.get().map(PinnedKey::label).cloned(),
    })
}
