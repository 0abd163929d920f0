//! The sends of a call: the route and the outcome of each, and the outer send that it belongs to.
//!
//! Requests of one call may be in flight at once, so nothing here depends on the order of their responses.
//! A send belongs to the layer that made it and names the outer layer's send that carried the request. The
//! sends that no inner layer has taken over are the entries of the trail.

use std::fmt;

use super::{
    attempt::{Attempt, Progress},
    route::Route,
};
use crate::request::Origin;

/// A send of a layer, by its index in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SendId(u32);

#[derive(Default)]
pub(super) struct Log {
    sends: Vec<Sent>,
    /// Counts events. Sends are ordered by it, because two readings of a clock may be equal.
    events: u32,
}

/// One request that a layer sent on.
pub(crate) struct Sent {
    pub(crate) id: SendId,
    parent: Option<SendId>,
    original_origin: Option<Origin>,
    stage: SendStage,
    opened: u32,
    ended: Option<u32>,
    pub(crate) attempt: Attempt,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SendStage {
    /// The inner service does not have the request yet.
    Prepared,
    /// An entry of the trail.
    Entry,
    /// An inner layer has the request, and its sends are in the trail instead.
    TakenOver,
}

/// The entries of one send: itself, or the sends that inner layers made for it.
#[derive(Clone, Copy)]
pub(crate) struct Sends<'a> {
    log: &'a Log,
    root: SendId,
}

/// The sends of a request that succeeds at once: one for each kind of layer.
const USUAL_SENDS: usize = 3;

// === impl Log ===

impl Log {
    /// Adds a request that is about to go out by this route.
    pub(super) fn open(&mut self, parent: Option<SendId>, route: Route) -> SendId {
        let Route {
            key,
            model,
            target,
            cost,
            original_origin,
        } = route;
        let id = SendId(u32::try_from(self.sends.len()).unwrap_or(u32::MAX));
        if self.sends.is_empty() {
            self.sends.reserve_exact(USUAL_SENDS);
        }
        let opened = self.event();
        self.sends.push(Sent {
            id,
            parent,
            original_origin,
            stage: SendStage::Prepared,
            opened,
            ended: None,
            attempt: Attempt {
                number: 0,
                sent: true,
                progress: Progress::InFlight,
                status: None,
                error: None,
                rejection: None,
                key,
                model,
                target,
                cost,
                steps: Vec::new(),
                buckets: Vec::new(),
                account: None,
                rejected_at: None,
            },
        });
        id
    }

    /// Records that the inner service has the request.
    pub(super) fn mark_sent(&mut self, id: SendId) {
        if let Some(send) = self
            .get_mut(id)
            .filter(|it| it.stage == SendStage::Prepared)
        {
            send.stage = SendStage::Entry;
        }
    }

    /// Records that an inner layer has the request of this send, and returns the route. A send that has
    /// already ended stays in the trail, because a service between the layers has sent its request twice.
    pub(super) fn take_over(&mut self, id: SendId) -> Route {
        let Some(send) = self.get_mut(id) else {
            return Route::default();
        };
        let route = send.route();
        if send.is_in_flight() {
            send.stage = SendStage::TakenOver;
        }
        route
    }

    /// Records the outcome of a send, which `fill` writes. If the request did not go out, or if an inner
    /// layer took it over and sent nothing, the entry is marked as not sent.
    pub(super) fn complete(&mut self, id: SendId, fill: impl FnOnce(&mut Attempt)) {
        let ended = self.event();
        let Some(send) = self.get_mut(id) else {
            return;
        };
        send.ended = Some(ended);
        send.attempt.progress = Progress::Completed;
        fill(&mut send.attempt);
        if send.stage != SendStage::Entry {
            send.attempt.sent = false;
            send.attempt.key = None;
            send.attempt.cost = None;
            send.stage = SendStage::Entry;
        }
    }

    /// Records that a send was dropped before its outcome was known.
    pub(super) fn abandon(&mut self, id: SendId) {
        let ended = self.event();
        let send = self.get_mut(id);
        if let Some(send) = send.filter(|send| send.is_entry() && send.ended.is_none()) {
            send.ended = Some(ended);
            send.attempt.progress = Progress::Abandoned;
        }
    }

    /// Returns the entry to which the outcome of a send belongs, if there is one yet. It is the entry of that
    /// send that the response names, or else the entry that ended last.
    pub(super) fn entry_of(&self, id: SendId, named: Option<SendId>) -> Option<SendId> {
        let sends = self.under(id);
        let named = named.filter(|named| sends.iter().any(|send| send.id == *named));
        named.or_else(|| Some(sends.iter().max_by_key(|send| send.ended)?.id))
    }

    /// The last entry of a send whose outcome is not known yet.
    pub(super) fn in_flight(&self, id: SendId) -> Option<SendId> {
        let sends = self.under(id).iter();
        sends
            .filter(|send| send.is_in_flight())
            .last()
            .map(|send| send.id)
    }

    pub(super) fn under(&self, root: SendId) -> Sends<'_> {
        Sends { log: self, root }
    }

    /// The entries of the trail, in the order in which they went out.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Sent> {
        self.sends.iter().filter(|send| send.is_entry())
    }

    /// How many requests went out.
    pub(super) fn sent(&self) -> usize {
        self.entries().filter(|send| send.attempt.sent).count()
    }

    pub(super) fn get(&self, SendId(at): SendId) -> Option<&Sent> {
        self.sends.get(at as usize)
    }

    fn get_mut(&mut self, SendId(at): SendId) -> Option<&mut Sent> {
        self.sends.get_mut(at as usize)
    }

    pub(super) fn attempt_mut(&mut self, id: SendId) -> Option<&mut Attempt> {
        self.get_mut(id).map(|send| &mut send.attempt)
    }

    fn event(&mut self) -> u32 {
        self.events = self.events.saturating_add(1);
        self.events
    }

    /// Returns the attempt of an entry with its number. The number can change while several requests are in
    /// flight.
    pub(super) fn numbered(&mut self, id: SendId) -> Option<&Attempt> {
        let before = self.entries().take_while(|send| send.id != id).count();
        let attempt = self.attempt_mut(id)?;
        attempt.number = u32::try_from(before + 1).unwrap_or(u32::MAX);
        Some(attempt)
    }

    fn is_under(&self, mut id: SendId, root: SendId) -> bool {
        while id != root {
            match self.get(id).and_then(|send| send.parent) {
                Some(parent) => id = parent,
                None => return false,
            }
        }
        true
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.entries().map(|send| &send.attempt);
        f.debug_list().entries(entries).finish()
    }
}

// === impl Sent ===

impl Sent {
    fn route(&self) -> Route {
        Route {
            key: self.attempt.key.clone(),
            model: self.attempt.model.clone(),
            target: self.attempt.target.clone(),
            cost: self.attempt.cost,
            original_origin: self.original_origin.clone(),
        }
    }

    fn is_entry(&self) -> bool {
        self.stage == SendStage::Entry
    }

    /// Whether its outcome is not known yet.
    pub(crate) fn is_in_flight(&self) -> bool {
        self.ended.is_none()
    }

    /// Whether this send went out after the outcome of the other was known.
    pub(crate) fn went_out_after(&self, other: &Self) -> bool {
        other.ended.is_some_and(|ended| ended < self.opened)
    }
}

// === impl Sends ===

impl<'a> Sends<'a> {
    /// The entries, in the order in which they went out.
    pub(crate) fn iter(self) -> impl Iterator<Item = &'a Sent> + Clone {
        let entries = self.log.sends.iter().filter(|send| send.is_entry());
        entries.filter(move |send| self.log.is_under(send.id, self.root))
    }
}
