//! Which key asks next: the pool's choice, and what the outcome says of the key that asked.

mod next;
mod report;

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::request;
use http_body::Body;
use tokio::time::Instant;

use super::{
    KeyPool, Session, WhenExhausted,
    layer::KeyRotationLayer,
    pool::{Lease, Standing, Ticket, Want},
};
use crate::{
    call::Head,
    call::{CallState, Route},
    clock::after,
    rejection::Rejection,
    request::Model,
    retry::{CommonSettings, Config, Decision, Outcome, Prepare, RequestView, Strategy},
    trail::{LayerKind, StopReason},
};
use report::{Last, report};

pub(crate) struct KeyRotationStrategy<X> {
    policy: Arc<KeyRotationLayer<X>>,
    stage: Stage,
    want: Want,
    /// Until when the call waits for a key, once it is known.
    max_wait: Option<Instant>,
    /// How often it was refused and waits for a key since.
    waits: u32,
}

enum Stage {
    /// Nothing was chosen yet.
    New,
    /// No pool has a key for this request: it passes through.
    Keyless,
    /// In the queue for a key.
    Waiting(KeyPool, Ticket),
    /// A key was set aside, to go out at this moment.
    Granted(Lease, Instant),
    /// The key of the send that is under way.
    Leased(Lease),
    /// The key was refused, and the call is to wait for one.
    Refused(KeyPool),
}

impl<X> Config for KeyRotationLayer<X> {
    const LAYER: LayerKind = LayerKind::KeyRotation;
    type Strategy = KeyRotationStrategy<X>;

    fn strategy(config: Arc<Self>) -> Self::Strategy {
        KeyRotationStrategy::new(config)
    }

    fn settings(&self) -> CommonSettings {
        self.settings
    }
}

impl<X> KeyRotationStrategy<X> {
    pub(super) fn new(policy: Arc<KeyRotationLayer<X>>) -> Self {
        Self {
            policy,
            stage: Stage::New,
            want: Want::default(),
            max_wait: None,
            waits: 0,
        }
    }

    fn pool(&self, head: &Head, route: &Route) -> Option<KeyPool> {
        let (origin, addressed) = (head.origin.as_ref(), route.original_origin.as_ref());
        let mut pools = self.policy.pools.iter();
        // A key that could not be put on the request would be blamed for the answer.
        let serves = |pool: &&KeyPool| pool.fits(&head.uri) && pool.serves(origin, addressed);
        pools.find(serves).cloned()
    }

    /// Until when this call may wait, if it may at all.
    fn max_wait<R>(&mut self, call: &CallState, now: Instant) -> Option<Instant>
    where
        X: WhenExhausted<R>,
    {
        let max_wait = self.policy.max_wait?;
        let end = *self.max_wait.get_or_insert(after(now, max_wait));
        let left = call.left(now).ok()?;
        Some(left.map_or(end, |left| end.min(now + left)))
    }

    /// The moment at which a key goes out, if that leaves the call half of its time; or else half-way.
    fn in_time<R>(&mut self, at: Instant, call: &CallState, now: Instant) -> Instant
    where
        X: WhenExhausted<R>,
    {
        let end = self.max_wait::<R>(call, now).unwrap_or(now);
        at.min(now + end.saturating_duration_since(now) / 2)
    }
}

impl<X: WhenExhausted<R>, R, E> Strategy<R, E> for KeyRotationStrategy<X> {
    fn poll_prepare<B>(&mut self, draft: &RequestView<B>, cx: &mut Context<'_>) -> Poll<Prepare<R>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let now = draft.now();
        loop {
            match &mut self.stage {
                Stage::Keyless => return Poll::Ready(Prepare::Send),
                Stage::Leased(lease) => {
                    lease.goes_out(now);
                    return Poll::Ready(Prepare::Send);
                }
                Stage::Granted(_, at) if *at > now => return Poll::Ready(Prepare::WaitUntil(*at)),
                // Until then it may go stale.
                Stage::Granted(..) if !draft.is_ready => return Poll::Ready(Prepare::Send),
                Stage::Granted(..) => {
                    if let Stage::Granted(lease, _) = mem::replace(&mut self.stage, Stage::New) {
                        match self.go_out::<R>(lease, &draft.call, now) {
                            Ok(stage) => self.stage = stage,
                            Err(answer) => return Poll::Ready(answer),
                        }
                    }
                }
                Stage::New => match self.pool(&draft.head, &draft.route) {
                    None => self.stage = Stage::Keyless,
                    Some(pool) => {
                        self.want = ready!(want(draft, cx));
                        if let Some(answer) = self.first::<R>(pool, &draft.call, now) {
                            return Poll::Ready(answer);
                        }
                    }
                },
                Stage::Refused(pool) => {
                    let pool = pool.clone();
                    let ticket = pool.join(self.want.clone(), true, now);
                    self.stage = Stage::Waiting(pool, ticket);
                }
                Stage::Waiting(pool, ticket) => match ticket.look(cx, now) {
                    Standing::Served(lease, at) => {
                        let at = self.in_time::<R>(at, &draft.call, now);
                        self.stage = Stage::Granted(lease, at);
                    }
                    Standing::Waiting { prospect, look_at } => {
                        let pool = pool.clone();
                        let end = self.max_wait::<R>(&draft.call, now).unwrap_or(now);
                        if end > now && prospect.is_before(end) {
                            let at = look_at.map_or(end, |at| at.min(end));
                            return Poll::Ready(Prepare::WaitUntil(at.max(now + TICK)));
                        }
                        if let Some(answer) = self.without_waiting::<R>(pool, &draft.call, now) {
                            return Poll::Ready(answer);
                        }
                    }
                },
            }
        }
    }

    fn rewrite(
        &mut self,
        head: &mut request::Parts,
        route: &mut Route,
        call: &CallState,
    ) -> Option<Bytes> {
        if let Stage::Leased(lease) = &mut self.stage {
            call.add_placed(lease.place(head));
            route.key = Some(lease.label().clone());
        }
        None
    }

    fn decide(&mut self, outcome: &Outcome<'_, E>) -> Decision {
        // The key is given back with the answer, however long the caller keeps the future.
        let Stage::Leased(mut lease) = mem::replace(&mut self.stage, Stage::Keyless) else {
            return match outcome.rejection {
                Some(rejection) if rejection.another_key_helps() => {
                    Decision::Stop(StopReason::NoKeyForOrigin)
                }
                _ => Decision::Ignore,
            };
        };
        lease.is_answered(outcome.now());
        let last = report(&lease, &self.want, outcome);
        let rejection = outcome.rejection.filter(|_| last != Last::Without);
        if !rejection.is_some_and(Rejection::another_key_helps) {
            return Decision::Ignore;
        }
        if let Err(why) = outcome.left() {
            return Decision::Stop(why);
        }
        self.want.tried.push(lease.id());
        if last == Last::OfAnother {
            return self.without_this(&lease, outcome.now());
        }
        self.next::<R>(lease.pool().clone(), outcome.call, outcome.now())
    }
}

/// The least time until a waiter looks again; a moment that is past is one that an answer will move.
const TICK: Duration = Duration::from_millis(1);

/// What the request asks of the pool.
fn want<B>(draft: &RequestView<B>, cx: &mut Context<'_>) -> Poll<Want>
where
    B: Body<Data = Bytes> + Unpin,
{
    // What a layer further out has read is not read again.
    let named = draft.route.model.clone();
    let named = named.or_else(|| Model::in_path(&draft.head.uri)?.name());
    let model = match named {
        None if draft.recording.in_memory() => {
            let body = ready!(draft.recording.poll_whole(cx));
            body.and_then(|body| Model::in_body(&draft.head.headers, &body).name())
        }
        named => named,
    };
    Poll::Ready(Want {
        model,
        tried: Vec::new(),
        session: draft.extensions.get::<Session>().map(Session::hash),
    })
}
