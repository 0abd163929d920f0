//! What becomes known of keys, and should be logged once.

use std::mem;

use tokio::time::Instant;

use super::{
    keys::{KeyReservation, Keys},
    level::is_of_every_model,
};
use crate::{
    rejection::{Reason, Rejection},
    telemetry::KeyNotice,
};

// === impl Keys ===

impl Keys {
    /// Returns what has become known of keys since the last call, and should be logged.
    pub(crate) fn take_notices(&mut self) -> Vec<KeyNotice> {
        mem::take(&mut self.notices)
    }

    /// Notes that a key works again. A request that was in flight when the key was reported shows nothing.
    pub(super) fn note_works(&mut self, reservation: &KeyReservation, sent: Instant) {
        if let Some(index) = self.index(reservation.candidate.id) {
            let reported_at = &mut self.entries[index].reported_at;
            *reported_at = reported_at.filter(|at| sent < *at);
        }
    }

    /// Notes once that a key is rejected or its credits are spent. If it is the only one, the caller gets the
    /// response that says so.
    pub(super) fn notice_unusable(&mut self, index: usize, rejection: &Rejection, now: Instant) {
        let reason = rejection.reason;
        let is_unusable = matches!(reason, Reason::KeyRejected | Reason::QuotaExhausted);
        if self.entries.len() < 2 || !is_unusable || !is_of_every_model(rejection) {
            return;
        }
        let entry = &mut self.entries[index];
        if entry.reported_at.is_none() {
            entry.reported_at = Some(now);
            self.has_unusable = true;
            let key = entry.info.label.clone();
            self.notices.push(KeyNotice::Unusable { key, reason });
        }
    }
}
