//! When one call is sent: at once, when its own wait has ended, or when its turn has come in the line of the
//! calls that share its limit.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::Body;
use tokio::time::Instant;

use super::{
    layer::Options,
    limits::{CredentialLimits, LimitId, LimitReservation, has_no_siblings, reserve_in_turn},
};
use crate::{
    clock::after,
    quota::{
        Confirmed, Forecast, Inner, LimitTable, Permit, Priority, Prospect, WaitBudget, Waiter,
        in_time, poll_again,
    },
    request::Model,
    retry::RequestView,
};

/// So many calls take turns to test if a limit is open again.
const PROBERS: usize = 4;

/// The place of one call among those that share its limit.
pub(super) struct Turn {
    stage: TurnStage,
    /// When the call is sent again if no other call shares its limit.
    own: Option<Instant>,
    /// The end of the hint that the call itself has got.
    hint: Option<Instant>,
    /// Which place the call takes when it waits.
    priority: Priority,
    line: WaitBudget,
}

enum TurnStage {
    /// The limit is not known yet, or does not matter.
    New,
    /// The call wants to be sent.
    Asking(LimitId),
    /// In the line.
    Waiting(LimitId, Waiter<CredentialLimits>),
    /// A place is reserved, and the request departs at this moment.
    Reserved(LimitId, Permit<CredentialLimits>, Instant),
    /// The send that is in progress.
    Sent(Permit<CredentialLimits>),
}

// === impl Turn ===

impl Turn {
    pub(super) fn new() -> Self {
        Self {
            stage: TurnStage::New,
            own: None,
            hint: None,
            priority: Priority::New,
            line: WaitBudget::default(),
        }
    }

    /// Returns when to poll again; `None` if the request is to be sent.
    pub(super) fn poll<B>(
        &mut self,
        options: &Options,
        request: &RequestView<B>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Instant>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let now = request.now();
        loop {
            match &mut self.stage {
                TurnStage::New if !options.shares_limits(request.is_outermost()) => {
                    return Poll::Ready(None);
                }
                TurnStage::New => {
                    let model = ready!(poll_model(request, cx));
                    let id = options.ids.id(&request.head, model.as_deref());
                    self.stage = TurnStage::Asking(id);
                }
                TurnStage::Asking(id) => {
                    let id = *id;
                    self.ask(id, options, request);
                }
                TurnStage::Waiting(id, waiter) => {
                    let id = *id;
                    match waiter.poll_acquire(cx, now) {
                        Ok((permit, at)) => {
                            let at = self.departure(id, at, options, request);
                            self.stage = TurnStage::Reserved(id, permit, at);
                        }
                        Err(forecast) => {
                            let until = self.waits_until(id, forecast.prospect, options, request);
                            if now < until {
                                let at = poll_again(forecast.free_at, until, now);
                                return Poll::Ready(Some(at));
                            }
                            // This gives up the place in the line.
                            self.reserve_anyway(id, options, request);
                        }
                    }
                }
                TurnStage::Reserved(_, _, at) if now < *at => return Poll::Ready(Some(*at)),
                // It may go stale until the service is ready.
                TurnStage::Reserved(..) if !request.is_ready => return Poll::Ready(None),
                TurnStage::Reserved(..) => self.confirm(options, request),
                TurnStage::Sent(..) => return Poll::Ready(None),
            }
        }
    }

    /// Notes that the request goes out.
    pub(super) fn mark_sent(&mut self) {
        if let TurnStage::Sent(permit) = &mut self.stage {
            permit.mark_sent();
        }
    }

    /// Ends the send that is in progress, and reports it if it runs on a limit. Returns whether it does.
    pub(super) fn complete(
        &mut self,
        now: Instant,
        report: impl FnOnce(&mut Inner<CredentialLimits>, &LimitReservation),
    ) -> bool {
        match mem::replace(&mut self.stage, TurnStage::New) {
            TurnStage::Sent(permit) => {
                permit.complete(now, report);
                true
            }
            stage => {
                self.stage = stage;
                false
            }
        }
    }

    /// Sets which place a rejected call takes: the one that it had, or one in front of those that have come
    /// after it. A call that has tested the limit for all lets others test it next, so that none uses up its
    /// attempts.
    pub(super) fn set_priority(&mut self, was_probe: bool) {
        self.priority = match self.priority {
            _ if was_probe => Priority::Behind(PROBERS),
            Priority::New => Priority::Again,
            kept => kept,
        };
    }

    /// Sets when the call is sent again if it is alone, and the end of the hint that it has got.
    pub(super) fn wait_until(&mut self, own: Instant, hint: Option<Instant>) {
        (self.own, self.hint) = (Some(own), hint);
    }

    /// Asking => Waiting | Reserved | Sent
    fn ask<B: Body>(&mut self, id: LimitId, options: &Options, request: &RequestView<B>) {
        let now = request.now();
        if self.own.is_none_or(|own| own <= now) {
            let reserved = options.limits.with(|inner| {
                let mut reservation = reserve_in_turn(inner, id, now)?;
                if request.is_ready {
                    inner.mark_sent(&mut reservation, now);
                }
                Ok::<_, Forecast>(reservation)
            });
            match reserved {
                Ok(reservation) => return self.reserved(id, reservation, options, request),
                Err(forecast) if !self.is_in_time(forecast.prospect, options, request) => {
                    return self.reserve_anyway(id, options, request);
                }
                Err(_) => {}
            }
        }
        let waiter = options.limits.enqueue(self.priority, now, |_| id);
        self.priority = waiter.place().map_or(self.priority, Priority::Kept);
        self.stage = TurnStage::Waiting(id, waiter);
    }

    /// Reserves a place, whatever is known of the limit: the provider's own response is what the caller gets.
    fn reserve_anyway<B: Body>(
        &mut self,
        id: LimitId,
        options: &Options,
        request: &RequestView<B>,
    ) {
        let now = request.now();
        let reservation = options.limits.with(|inner| {
            let limits = &mut inner.candidates;
            let mut reservation = limits.reserve_anyway(id, now);
            if request.is_ready {
                limits.mark_sent(&mut reservation, now);
            }
            reservation
        });
        self.reserved(id, reservation, options, request);
    }

    fn reserved<B: Body>(
        &mut self,
        id: LimitId,
        reservation: LimitReservation,
        options: &Options,
        request: &RequestView<B>,
    ) {
        self.stage = match request.is_ready {
            true => TurnStage::Sent(options.limits.sendable(reservation)),
            false => TurnStage::Reserved(id, options.limits.reserved(reservation), request.now()),
        };
    }

    /// Reserved => Sent, or Asking if another call was rejected meanwhile.
    fn confirm<B: Body>(&mut self, options: &Options, request: &RequestView<B>) {
        let now = request.now();
        let anyway = self.end(options, request) <= now;
        if let TurnStage::Reserved(id, mut permit, _) =
            mem::replace(&mut self.stage, TurnStage::New)
        {
            let confirmed = permit.confirm(anyway, now);
            if anyway || confirmed == Confirmed::Yes {
                self.stage = TurnStage::Sent(permit);
            } else {
                self.stage = TurnStage::Asking(id);
            }
        }
    }

    /// Returns until when the call stays in the line, if it does.
    fn waits_until<B: Body>(
        &mut self,
        id: LimitId,
        prospect: Prospect,
        options: &Options,
        request: &RequestView<B>,
    ) -> Instant {
        let is_in_time = self.is_in_time(prospect, options, request);
        match self.own {
            own if !is_in_time => own.unwrap_or(request.now()),
            Some(own) if options.limits.with(|inner| has_no_siblings(inner, id)) => own,
            own => {
                let end = self.end(options, request);
                own.map_or(end, |own| own.max(end))
            }
        }
    }

    /// Returns whether the line may serve the call as early as the layer and the call allow.
    fn is_in_time<B: Body>(
        &mut self,
        prospect: Prospect,
        options: &Options,
        request: &RequestView<B>,
    ) -> bool {
        let (now, end) = (request.now(), self.end(options, request));
        now < end
            && match prospect {
                Prospect::AnyTime => true,
                Prospect::At(at) => at <= after(now, options.max_wait) && at < end,
                Prospect::Never => false,
            }
    }

    /// Returns when the request of a place departs that was granted for `at`.
    fn departure<B: Body>(
        &mut self,
        id: LimitId,
        at: Instant,
        options: &Options,
        request: &RequestView<B>,
    ) -> Instant {
        match self.own {
            Some(own) if options.limits.with(|inner| has_no_siblings(inner, id)) => own,
            _ => {
                let now = request.now();
                let at = in_time(at, self.end(options, request), now);
                self.hint.map_or(at, |hint| at.max(hint))
            }
        }
    }

    /// Returns until when this call may wait in lines, all such waits together.
    fn end<B: Body>(&mut self, options: &Options, request: &RequestView<B>) -> Instant {
        let now = request.now();
        let most = options.max_wait.saturating_mul(options.attempts.max(1));
        match request.call.left(now) {
            Ok(left) => self.line.end(after(now, most), left, now),
            Err(_) => now,
        }
    }
}

/// Returns the model that the request names, if that is known before the body is sent.
fn poll_model<B>(request: &RequestView<B>, cx: &mut Context<'_>) -> Poll<Option<Arc<str>>>
where
    B: Body<Data = Bytes> + Unpin,
{
    let in_path = Model::in_path(&request.head.uri);
    let named = request.route.model.clone().or_else(|| in_path?.name());
    if named.is_some() || !request.recording.in_memory() {
        return Poll::Ready(named);
    }
    let body = ready!(request.recording.poll_whole(cx));
    Poll::Ready(body.and_then(|body| Model::in_body(&request.head.headers, &body).name()))
}
