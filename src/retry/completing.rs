//! The end of a permit: with the head of a response, or with the body if that streams.

use super::strategy::Outcome;
use crate::{
    call::OpenBody,
    quota::{Candidates, Inner, Permit, ReservationOf, Slot},
};

// === impl Outcome ===

impl<E> Outcome<'_, E> {
    /// Reports the outcome and releases the place. If the body of a success streams, its slot stays counted
    /// until the body has ended or was dropped.
    pub(crate) fn complete<C: Candidates, T>(
        &self,
        permit: Permit<C>,
        report: impl FnOnce(&mut Inner<C>, &ReservationOf<C>) -> T,
    ) -> T
    where
        Slot<C>: Send + Sync + 'static,
    {
        let now = self.now();
        let Some(body) = self.streamed_body() else {
            return permit.complete(now, report);
        };
        let (reported, slot) = permit.complete_head(now, report);
        body.hold(slot);
        reported
    }

    fn streamed_body(&self) -> Option<&OpenBody> {
        let head = self.result.ok().filter(|_| self.is_success())?;
        let body = head.open_body().filter(|body| body.is_open())?;
        head.streams().then_some(body)
    }
}
