//! The sends of a call: which went out under which, by what route, and what came of each.
//!
//! Requests of one call may be in flight at once, so nothing here depends on the order of their answers. A
//! send belongs to the layer that made it, and names the outer layer's send under which it went out. Those
//! that no inner layer has taken over are the entries of the trail.

use std::{fmt, sync::Arc};

use crate::{
    request::Origin,
    trail::{Attempt, Progress},
};

/// A send of a layer, by its place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SendId(u32);

/// Who sends what to whom: set by the layers before a send, and kept by it.
#[derive(Clone, Default)]
pub(crate) struct Route {
    pub(crate) key: Option<Arc<str>>,
    pub(crate) model: Option<Arc<str>>,
    pub(crate) target: Option<Arc<str>>,
    /// To which the caller addressed the request, whatever a layer made of it since.
    pub(crate) addressed: Option<Origin>,
}

#[derive(Default)]
pub(super) struct Log {
    sends: Vec<Sent>,
    /// Counts what happens: two sends are compared by it, because moments of a clock may be equal.
    events: u32,
}

/// One request that a layer sent on.
pub(crate) struct Sent {
    pub(crate) id: SendId,
    parent: Option<SendId>,
    addressed: Option<Origin>,
    stage: Stage,
    opened: u32,
    ended: Option<u32>,
    pub(crate) attempt: Attempt,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The inner service does not have the request yet.
    Prepared,
    /// An entry of the trail.
    Entry,
    /// An inner layer has the request now, whose sends are in the trail instead.
    TakenOver,
}

/// What came of one send: itself, or the sends of inner layers under it.
#[derive(Clone, Copy)]
pub(crate) struct Sends<'a> {
    log: &'a Log,
    root: SendId,
}

/// What most stacks make of a request that is answered at once: a send for each kind of layer.
const USUAL: usize = 3;

// === impl Route ===

impl Route {
    /// Of a request as it comes from the caller.
    pub(super) fn to(addressed: Option<Origin>) -> Self {
        Self {
            addressed,
            ..Self::default()
        }
    }
}

// === impl Log ===

impl Log {
    /// A request is about to go out by this route.
    pub(super) fn open(&mut self, parent: Option<SendId>, route: Route) -> SendId {
        let Route {
            key,
            model,
            target,
            addressed,
        } = route;
        let id = SendId(u32::try_from(self.sends.len()).unwrap_or(u32::MAX));
        if self.sends.is_empty() {
            self.sends.reserve(USUAL);
        }
        let opened = self.event();
        self.sends.push(Sent {
            id,
            parent,
            addressed,
            stage: Stage::Prepared,
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
                steps: Vec::new(),
                told: Vec::new(),
                rejected_at: None,
            },
        });
        id
    }

    /// The inner service has the request now.
    pub(super) fn goes_out(&mut self, id: SendId) {
        if let Some(send) = self.get_mut(id).filter(|it| it.stage == Stage::Prepared) {
            send.stage = Stage::Entry;
            self.number();
        }
    }

    /// An inner layer has the request of this send now, and the route on which it came. A send that has ended
    /// stays in the trail: a service between sent it twice, and the first answer was enough.
    pub(super) fn take_over(&mut self, id: SendId) -> Route {
        let Some(send) = self.get_mut(id) else {
            return Route::default();
        };
        let route = send.route();
        if send.is_in_flight() {
            send.stage = Stage::TakenOver;
            self.number();
        }
        route
    }

    /// A send has its outcome, which `fill` writes down. If it did not go out, or an inner layer took it over
    /// and sent nothing, it is an entry without a send.
    pub(super) fn complete(&mut self, id: SendId, fill: impl FnOnce(&mut Attempt)) {
        let ended = self.event();
        let Some(send) = self.get_mut(id) else {
            return;
        };
        send.ended = Some(ended);
        send.attempt.progress = Progress::Completed;
        fill(&mut send.attempt);
        if send.stage != Stage::Entry {
            send.attempt.sent = false;
            send.attempt.key = None;
            send.stage = Stage::Entry;
            self.number();
        }
    }

    /// A send is dropped before its outcome is known.
    pub(super) fn abandon(&mut self, id: SendId) {
        let ended = self.event();
        let send = self.get_mut(id);
        if let Some(send) = send.filter(|send| send.is_entry() && send.ended.is_none()) {
            send.ended = Some(ended);
            send.attempt.progress = Progress::Abandoned;
        }
    }

    /// The entry to which the outcome of a send belongs, if there is one yet: of those that were made for
    /// it the one that the response names, or else the one that ended last.
    pub(super) fn entry_of(&self, id: SendId, named: Option<SendId>) -> Option<SendId> {
        let sends = self.under(id);
        let named = named.filter(|named| sends.iter().any(|send| send.id == *named));
        named.or_else(|| Some(sends.iter().max_by_key(|send| send.ended)?.id))
    }

    /// The last of the entries that were made for a send whose outcome is not known yet.
    pub(super) fn under_way(&self, id: SendId) -> Option<SendId> {
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

    fn number(&mut self) {
        let entries = self.sends.iter_mut().filter(|send| send.is_entry());
        for (before, send) in entries.enumerate() {
            send.attempt.number = u32::try_from(before + 1).unwrap_or(u32::MAX);
        }
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
            addressed: self.addressed.clone(),
        }
    }

    fn is_entry(&self) -> bool {
        self.stage == Stage::Entry
    }

    /// Whether it is not known yet what comes of it.
    pub(crate) fn is_in_flight(&self) -> bool {
        self.ended.is_none()
    }

    /// Whether the outcome of the other was known before this one went out.
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
