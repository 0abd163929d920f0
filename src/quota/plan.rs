//! What the waiting calls would take if all that is left were leased to this process. The next exchange wants that.
//!
//! The scheduler reserves for these calls as it does otherwise, and releases all of it again. So the process wants
//! places for as many calls as could be sent, of all limits of each call, and of the keys that it would choose.

use tokio::time::Instant;

use super::{
    queue::Waiting,
    scheduler::{Candidates, Inner, ReservationOf},
    table::LimitTable,
};

/// At most so many calls are planned. Each further one is taken to need as much as these on average.
const MAX_PLANNED: usize = 256;

// === impl Inner ===

impl<C: Candidates> Inner<C> {
    /// Reserves for the waiting calls, and releases that again. Returns for how many calls places are wanted, and for
    /// how many it has reserved. Each limit must have begun a plan before.
    pub(super) fn plan(&mut self, now: Instant) -> (u64, u64) {
        let mut planned: Vec<ReservationOf<C>> = Vec::new();
        let candidates = &mut self.candidates;
        self.queue.visit(|class, waiting: Waiting| {
            if planned.len() == MAX_PLANNED {
                return Err(false);
            }
            match candidates.reserve_for(class, waiting, now) {
                Ok(reservation) => {
                    planned.push(reservation);
                    Ok(())
                }
                Err(forecast) => Err(forecast.less_may_go),
            }
        });
        for reservation in &planned {
            self.candidates.limits().release(reservation, None);
        }
        let waiting = match planned.len() {
            MAX_PLANNED => self.queue.len(),
            fewer => fewer,
        };
        (waiting as u64, planned.len() as u64)
    }
}
