//! A session's own key: rendezvous hashing, so that only the sessions of a key that closes move.

use std::{hash::BuildHasher, sync::Arc};

use tokio::time::Instant;

use super::{Exhausted, KeyId, Loan, State, Want};
use crate::{
    allowance::Room,
    key_rotation::pool::{number::ByNumber, sessions::Open},
};

/// Of the keys that are open, a session's own has the highest.
pub(in crate::key_rotation::pool) fn score(session: u64, id: KeyId) -> u64 {
    ByNumber::default().hash_one((session, id))
}

impl State {
    /// The session's own key (rendezvous hashing), or the next of its keys if that one is closed: only
    /// the sessions of a key that cools move. One that is busy is waited for.
    pub(super) fn of_session(
        &mut self,
        session: u64,
        want: &Want,
        now: Instant,
    ) -> Option<Result<usize, Exhausted>> {
        let mut best: Option<(u64, usize, Room)> = None;
        for index in 0..self.keys.len() {
            let of_this = score(session, self.keys[index].id);
            let is_better = best.is_none_or(|(highest, ..)| of_this > highest);
            if !is_better || want.tried.contains(&self.keys[index].id) {
                continue;
            }
            match self.room(index, want, now) {
                Room::Closed(_) | Room::Testable(_) | Room::Unusable(_) => {}
                room => best = Some((of_this, index, room)),
            }
        }
        let (best, index, room) = best?;
        Some(match room {
            Room::Learning(more_at) | Room::Full(more_at) => {
                let better_at = self.better_opens(session, best, want, now);
                let id = self.keys[index].id;
                Err(Exhausted::busy(
                    id,
                    more_at.into_iter().chain(better_at).min(),
                ))
            }
            Room::Open(_) | Room::Testable(_) | Room::Closed(_) | Room::Unusable(_) => Ok(index),
        })
    }

    /// When the first key opens that is the session's rather than the one with this score.
    fn better_opens(
        &mut self,
        session: u64,
        best: u64,
        want: &Want,
        now: Instant,
    ) -> Option<Instant> {
        let mut first = None;
        for index in 0..self.keys.len() {
            if score(session, self.keys[index].id) <= best
                || want.tried.contains(&self.keys[index].id)
            {
                continue;
            }
            if let Room::Closed(until) | Room::Testable(until) | Room::Unusable(until) =
                self.room(index, want, now)
            {
                first = Some(first.map_or(until, |first: Instant| first.min(until)));
            }
        }
        first
    }

    /// The keys that are not closed for a model, and when the next may open.
    pub(in crate::key_rotation::pool) fn open(
        &mut self,
        model: Option<&Arc<str>>,
        now: Instant,
    ) -> Open {
        let mut open = Open::default();
        let mut limits = self.lanes.of(model);
        for entry in &self.keys {
            match entry.room(&mut limits, now) {
                Room::Closed(until) | Room::Testable(until) | Room::Unusable(until) => {
                    open.next_at = Some(open.next_at.map_or(until, |at| at.min(until)));
                }
                Room::Open(_) | Room::Learning(_) | Room::Full(_) => {
                    open.keys.insert(entry.id);
                }
            }
        }
        open
    }

    /// Takes the own key of sessions that wait, if it has room; `next_at` is when the next key opens, which
    /// may be theirs rather than this.
    pub(in crate::key_rotation::pool) fn take_own(
        &mut self,
        own: KeyId,
        want: &Want,
        next_at: Option<Instant>,
        now: Instant,
    ) -> Result<Loan, Exhausted> {
        let Some(index) = self.places.get(&own).copied() else {
            return Err(Exhausted::now(now));
        };
        match self.room(index, want, now) {
            Room::Open(_) => Ok(self.lend(index, want, now).0),
            Room::Learning(more_at) | Room::Full(more_at) => Err(Exhausted::busy(
                own,
                more_at.into_iter().chain(next_at).min(),
            )),
            Room::Closed(until) | Room::Testable(until) | Room::Unusable(until) => Err(
                Exhausted::busy(own, Some(next_at.map_or(until, |at| at.min(until)))),
            ),
        }
    }
}
