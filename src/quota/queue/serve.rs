//! Who is served when there is capacity: interactive calls, and now and then one in the background.

use std::{collections::BTreeMap, hash::Hash};

use tokio::time::Instant;

use super::{Forecast, WaitQueue, WaiterId, Waiting, line::Line};

// === impl WaitQueue ===

impl<C: Clone + Eq + Hash, R> WaitQueue<C, R> {
    /// Reserves for as many waiters as possible, in their order, and returns these. Wakes each head whose
    /// timer is too late, and all of a line whose wait has become much longer.
    pub(crate) fn serve(
        &mut self,
        now: Instant,
        mut reserve: impl FnMut(&C, Waiting) -> Result<R, Forecast>,
    ) -> Vec<(WaiterId, R)> {
        let lines = self.interactive.iter().chain(&self.background);
        let mut heads: BTreeMap<_, _> = lines
            .filter_map(|(class, line)| Some((line.head()?, class.clone())))
            .collect();
        let (mut served, mut to_wake) = (Vec::new(), Vec::new());
        let mut may_fit = true;
        loop {
            while may_fit && self.floor.is_due() {
                let by_floor = self.serve_floor(&mut heads, now, &mut reserve);
                may_fit = by_floor.is_some();
                served.extend(by_floor);
            }
            let Some((id, class)) = heads.pop_first() else {
                break;
            };
            let Some(line) = self.classes_mut(id.is_background).get_mut(&class) else {
                continue;
            };
            let Some(waiting) = line.first(now) else {
                continue;
            };
            match reserve(&class, waiting) {
                Ok(reservation) => {
                    served.push((id, reservation));
                    self.move_up(id, class, &mut heads);
                }
                Err(forecast) => {
                    let has_slipped = line.has_slipped(forecast.prospect, now);
                    line.forecast = forecast;
                    line.not_served = forecast.less_may_go.then_some(waiting.demand);
                    let before = match forecast.less_may_go {
                        true => line.backfill(|waiting| reserve(&class, waiting)),
                        false => Vec::new(),
                    };
                    match has_slipped {
                        true => to_wake.extend(line.ids()),
                        false => to_wake.extend((!line.head_is_notified(id)).then_some(id)),
                    }
                    before
                        .iter()
                        .for_each(|_| self.count_grant(id.is_background));
                    served.extend(before);
                }
            }
        }
        to_wake.into_iter().for_each(|id| self.wake(id));
        served
    }

    /// Reserves for the first background call for which there is capacity. It leaves nothing to others.
    fn serve_floor(
        &mut self,
        heads: &mut BTreeMap<WaiterId, C>,
        now: Instant,
        mut reserve: impl FnMut(&C, Waiting) -> Result<R, Forecast>,
    ) -> Option<(WaiterId, R)> {
        let lines = self.background.iter();
        let heads_of_all: BTreeMap<_, _> = lines
            .filter_map(|(class, line)| Some((line.head()?, (class.clone(), line.first(now)?))))
            .collect();
        for (id, (class, waiting)) in heads_of_all {
            let demand = waiting.demand.without_reserve();
            if let Ok(reservation) = reserve(&class, Waiting { demand, ..waiting }) {
                heads.remove(&id);
                self.move_up(id, class, heads);
                return Some((id, reservation));
            }
        }
        None
    }

    /// Visits the waiters line by line, the interactive ones first. An error says whether a call that needs less may go
    /// before. If not, the rest of the line is left out.
    #[cfg(feature = "share")]
    pub(crate) fn visit(&self, mut visit: impl FnMut(&C, Waiting) -> Result<(), bool>) {
        for lines in [&self.interactive, &self.background] {
            let mut lines: Vec<_> = lines.iter().collect();
            lines.sort_unstable_by_key(|(_, line)| line.head());
            for (class, line) in lines {
                line.visit(|waiting| visit(class, waiting));
            }
        }
    }

    /// Removes a head that was served: the next of its line is served after it.
    fn move_up(&mut self, id: WaiterId, class: C, heads: &mut BTreeMap<WaiterId, C>) {
        self.count_grant(id.is_background);
        if let Some(line) = self.classes_mut(id.is_background).get_mut(&class) {
            line.not_served = None;
        }
        self.leave_line(id, &class);
        if let Some(next) = self.line(&class, id.is_background).and_then(Line::head) {
            heads.insert(next, class);
        }
    }

    fn count_grant(&mut self, is_background: bool) {
        match is_background {
            true => self.floor.serve(),
            false if !self.background.is_empty() => self.floor.pass_over(),
            false => {}
        }
    }
}
