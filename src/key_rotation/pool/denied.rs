//! The models that a key may not use, though it is a good key. Pure.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    allowance::{Cooldown, End},
    rejection::Rejection,
};

/// Names of models come from callers: of more than these, the one that is checked again first is forgotten.
const MOST: usize = 32;

/// Until when a key is not used for a model; empty for nearly every key.
#[derive(Clone, Debug, Default)]
pub(super) struct Denied(Vec<(Arc<str>, Cooldown)>);

impl Denied {
    fn get(&self, model: Option<&Arc<str>>) -> Option<&Cooldown> {
        let model = model.filter(|_| !self.0.is_empty())?;
        let (_, cooldown) = self.0.iter().find(|(denied, _)| denied == model)?;
        Some(cooldown)
    }

    /// Until when the key is not used for the model.
    pub(super) fn ends_at(&self, model: Option<&Arc<str>>, now: Instant) -> Option<Instant> {
        self.get(model)?.ends_at(now)
    }

    /// As [`ends_at`](Self::ends_at), and why.
    pub(super) fn end(&self, model: Option<&Arc<str>>, now: Instant) -> Option<End> {
        self.get(model)?.end(now)
    }

    /// The models for which the key is not used now.
    pub(super) fn models(&self, now: Instant) -> impl Iterator<Item = (Arc<str>, End)> {
        let models = self.0.iter();
        models.filter_map(move |(model, cooldown)| Some((model.clone(), cooldown.end(now)?)))
    }

    /// Whether a rejection that came since `moment` forbids to send now.
    pub(super) fn began_since(
        &self,
        model: Option<&Arc<str>>,
        moment: Instant,
        now: Instant,
    ) -> bool {
        self.get(model)
            .is_some_and(|cooldown| cooldown.began_since(moment, now))
    }

    /// A request for the model was rejected.
    pub(super) fn refuse(
        &mut self,
        model: &Arc<str>,
        rejection: &Rejection,
        (sent, now): (Instant, Instant),
        longest_guess: Duration,
    ) {
        let known = self.0.iter().position(|(denied, _)| denied == model);
        let at = known.unwrap_or_else(|| {
            if self.0.len() >= MOST {
                let ends = self.0.iter().enumerate();
                let first = ends.min_by_key(|(_, (_, it))| it.ends_at(now));
                if let Some((first, _)) = first {
                    self.0.swap_remove(first);
                }
            }
            self.0.push((model.clone(), Cooldown::default()));
            self.0.len() - 1
        });
        if let Some((_, cooldown)) = self.0.get_mut(at) {
            cooldown.refuse(rejection, sent, now, longest_guess);
        }
    }

    /// A request for the model, which went out at `sent`, passed.
    pub(super) fn succeed(&mut self, model: Option<&Arc<str>>, sent: Instant) {
        let Some(model) = model.filter(|_| !self.0.is_empty()) else {
            return;
        };
        let denied = self.0.iter_mut().find(|(denied, _)| denied == model);
        if let Some((_, cooldown)) = denied {
            cooldown.succeed(sent);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]

    use super::*;
    use crate::rejection::Reason;

    #[test]
    fn denied_models_are_bounded_and_the_first_to_end_is_forgotten() {
        let (mut denied, now) = (Denied::default(), Instant::now());
        let name = |number: usize| Arc::<str>::from(number.to_string());
        let rejection = Rejection::new(Reason::KeyRejected);
        for number in 0..MOST + 2 {
            let at = now + Duration::from_secs(number as u64);
            denied.refuse(&name(number), &rejection, (at, at), Duration::from_secs(60));
        }
        let later = now + Duration::from_secs(40);
        assert_eq!(denied.models(later).count(), MOST);
        assert!(denied.end(Some(&name(1)), later).is_none());
        assert!(denied.end(Some(&name(2)), later).is_some());
        assert!(denied.end(None, later).is_none());
    }
}
