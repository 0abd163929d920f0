//! When one call is sent: at once, after its own wait, or when its turn comes in the line of calls that share
//! its limit.

mod bounds;

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
    limits::{
        CredentialLimits, LimitId, LimitReservation, WaitsFor, count_present, reserve_in_turn,
    },
};
use crate::{
    call::CallState,
    quota::{
        Confirmed, Demand, Forecast, Inner, Permit, QueuePlace, WaitBudget, Waiter, poll_again,
    },
    request::{Cost, Model},
    retry::{Outcome, RequestView},
};

/// The number of calls that take turns to test whether a limit is open again.
const PROBERS: usize = 4;

/// The place of one call among those that share its limit.
pub(super) struct Turn {
    stage: TurnStage,
    /// The limit that its requests run on, once it is known.
    id: Option<LimitId>,
    /// What a send takes from the limit.
    demand: Demand,
    /// When the call is sent again if no other call shares its limit.
    own: Option<Instant>,
    /// The end of the hint that the call itself has got.
    hint: Option<Instant>,
    /// Which place in the line the call takes when it waits.
    place: QueuePlace,
    /// Whether the next attempt is the last of several.
    is_last: bool,
    line: WaitBudget,
}

enum TurnStage {
    /// The call wants to be sent.
    Asking,
    /// In a delay of its own, which the others see.
    Resting { _waiter: Waiter<CredentialLimits> },
    /// In the line.
    Waiting(Waiter<CredentialLimits>),
    /// A place is reserved, and the request departs at this moment.
    Reserved(Permit<CredentialLimits>, Instant),
    /// The send that is in progress.
    Sent(Permit<CredentialLimits>),
}

/// What a decision depends on.
struct Moment<'a> {
    options: &'a Options,
    call: &'a CallState,
    precise_demand: &'a dyn Fn() -> Demand,
    id: LimitId,
    /// Whether the request goes out now if it is to be sent.
    is_ready: bool,
    now: Instant,
}

// === impl Turn ===

impl Turn {
    pub(super) fn new() -> Self {
        Self {
            stage: TurnStage::Asking,
            id: None,
            demand: Demand::default(),
            own: None,
            hint: None,
            place: QueuePlace::New,
            is_last: false,
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
        let id = match self.id {
            Some(id) => id,
            None if options.shares_limits(request.is_outermost()) => {
                let model = ready!(poll_model(request, cx));
                let id = options.ids.id(&request.head, model.as_deref());
                self.demand = request.demand(&options.limits, false);
                *self.id.insert(id)
            }
            None => return Poll::Ready(None),
        };
        let moment = Moment {
            options,
            call: &request.call,
            precise_demand: &|| request.demand(&options.limits, true),
            id,
            is_ready: request.is_ready,
            now: request.now(),
        };
        Poll::Ready(self.step(&moment, cx))
    }

    fn step(&mut self, moment: &Moment<'_>, cx: &mut Context<'_>) -> Option<Instant> {
        let now = moment.now;
        loop {
            match &mut self.stage {
                TurnStage::Asking => self.ask(moment),
                // The delay is over.
                TurnStage::Resting { .. } => self.stage = TurnStage::Asking,
                TurnStage::Waiting(waiter) => match waiter.poll_acquire(cx, now) {
                    Ok((permit, at)) => {
                        let at = self.departure(at, moment);
                        self.stage = TurnStage::Reserved(permit, at);
                    }
                    Err(forecast) => {
                        let until = self.waits_until(forecast.prospect, moment);
                        if now < until {
                            return Some(poll_again(forecast.free_at, until, now));
                        }
                        // This gives up the place in the line.
                        self.reserve_anyway(moment);
                    }
                },
                TurnStage::Reserved(_, at) if now < *at => return Some(*at),
                // The reservation may become stale until the service is ready.
                TurnStage::Reserved(..) if !moment.is_ready => return None,
                TurnStage::Reserved(..) => self.confirm(moment),
                TurnStage::Sent(_) => return None,
            }
        }
    }

    /// Notes that the request goes out. Returns what it was taken to cost, if it runs on one.
    pub(super) fn mark_sent(&mut self) -> Option<Cost> {
        let TurnStage::Sent(permit) = &mut self.stage else {
            return None;
        };
        permit.mark_sent();
        permit.cost()
    }

    /// Ends the send that is in progress, and reports it if it runs on a limit. Returns whether it does.
    pub(super) fn complete<E>(
        &mut self,
        outcome: &Outcome<'_, E>,
        report: impl FnOnce(&mut Inner<CredentialLimits>, &LimitReservation),
    ) -> bool {
        match mem::replace(&mut self.stage, TurnStage::Asking) {
            TurnStage::Sent(permit) => {
                outcome.complete(permit, report);
                true
            }
            _ => false,
        }
    }

    /// Sets which place in the line a rejected call takes. It keeps its place, or gets one in front of the
    /// calls that have come later. A call that has tested the limit for all goes behind the next testers, so
    /// that no call uses up its attempts.
    pub(super) fn set_place(&mut self, was_probe: bool, is_last: bool) {
        self.is_last = is_last;
        self.place = match self.place {
            _ if was_probe => QueuePlace::Behind(PROBERS),
            QueuePlace::New => QueuePlace::Again,
            kept => kept,
        };
    }

    /// Makes the call share no limit from now on.
    pub(super) fn leave(&mut self) {
        self.id = None;
    }

    /// Lets the call wait until its own moment, `own`, or until the line serves it after its hint.
    pub(super) fn wait_in_line(&mut self, own: Instant, hint: Instant) {
        (self.own, self.hint) = (Some(own), Some(hint));
    }

    /// Lets the call wait until its own moment before it is sent again.
    pub(super) fn rest(&mut self, own: Instant, options: &Options, now: Instant) {
        (self.own, self.hint) = (Some(own), None);
        if let Some(id) = self.id {
            let limits = &options.limits;
            let waiter = limits.enqueue((QueuePlace::New, self.demand), now, |_| {
                WaitsFor::OwnDelay(id)
            });
            self.stage = TurnStage::Resting { _waiter: waiter };
        }
    }

    /// Asking => Waiting | Reserved | Sent
    fn ask(&mut self, moment: &Moment<'_>) {
        let now = moment.now;
        if self.own.is_none_or(|own| own <= now) {
            let reserved = moment.options.limits.with(|inner| {
                let mut reservation = reserve_in_turn(inner, moment.id, self.demand, now)?;
                if moment.is_ready {
                    inner.mark_sent(&mut reservation, now);
                }
                Ok::<_, Forecast>(reservation)
            });
            match reserved {
                Ok(reservation) => return self.reserved(reservation, moment),
                Err(forecast) if !self.is_in_time(forecast.prospect, moment) => {
                    return self.reserve_anyway(moment);
                }
                Err(_) => {}
            }
        }
        if self.demand.is_rough() {
            self.demand = (moment.precise_demand)();
        }
        let limits = &moment.options.limits;
        let waiter = limits.enqueue((self.place, self.demand), now, |_| {
            WaitsFor::Turn(moment.id)
        });
        self.place = waiter.place().map_or(self.place, QueuePlace::Kept);
        self.stage = TurnStage::Waiting(waiter);
    }

    /// Reserves a place, whatever is known about the limit, so that the caller gets the provider's own
    /// response.
    fn reserve_anyway(&mut self, moment: &Moment<'_>) {
        let reservation = moment.options.limits.with(|inner| {
            let mut reservation =
                inner
                    .candidates
                    .reserve_anyway(moment.id, self.demand, moment.now);
            if moment.is_ready {
                inner.mark_sent(&mut reservation, moment.now);
            }
            reservation
        });
        self.reserved(reservation, moment);
    }

    fn reserved(&mut self, reservation: LimitReservation, moment: &Moment<'_>) {
        let limits = &moment.options.limits;
        self.stage = match moment.is_ready {
            true => TurnStage::Sent(limits.sendable(reservation)),
            false => TurnStage::Reserved(limits.reserved(reservation), moment.now),
        };
    }

    /// Reserved => Sent, or Asking if another call was rejected meanwhile.
    fn confirm(&mut self, moment: &Moment<'_>) {
        let anyway = self.end(moment) <= moment.now;
        if let TurnStage::Reserved(mut permit, _) = mem::replace(&mut self.stage, TurnStage::Asking)
        {
            if permit.confirm(anyway, moment.now) == Confirmed::Yes || anyway {
                self.stage = TurnStage::Sent(permit);
            }
        }
    }
}

// === impl Moment ===

impl Moment<'_> {
    /// Returns whether no other call is on the limit. This call is on it, so the count is 1.
    fn is_alone(&self) -> bool {
        let limits = &self.options.limits;
        limits.with(|inner| count_present(inner, self.id)) <= 1
    }
}

/// Returns the model that the request names, if that is known before the body is sent.
fn poll_model<B>(request: &RequestView<B>, cx: &mut Context<'_>) -> Poll<Option<Arc<str>>>
where
    B: Body<Data = Bytes> + Unpin,
{
    let in_path = || Model::in_path(&request.head.uri)?.name();
    let named = request.route.model.clone().or_else(in_path);
    if named.is_some() || !request.recording.in_memory() {
        return Poll::Ready(named);
    }
    let body = ready!(request.recording.poll_whole(cx));
    Poll::Ready(body.and_then(|body| Model::in_body(&request.head.headers, &body).name()))
}
