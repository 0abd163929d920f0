//! Which targets are limited, over calls: the cooldowns of what was refused.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{allowance::Cooldown, origin::Origin, refusal::Refusal};

/// A model name may come from a stranger's request, so what is remembered is bounded.
const MOST: usize = 1024;

/// What is limited: a model at an origin.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct TargetId {
    pub(super) origin: Option<Origin>,
    /// One origin may stand before several providers.
    pub(super) base_path: String,
    pub(super) model: Option<Arc<str>>,
    /// A target with credentials of its own has limits of its own.
    pub(super) account: Option<Arc<str>>,
}

/// Shared by all services of a layer.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Mutex<HashMap<TargetId, Cooldown>>>);

// === impl Memory ===

impl Memory {
    fn lock(&self) -> MutexGuard<'_, HashMap<TargetId, Cooldown>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the target frees, and what it waits for; `None` if it is free.
    pub(super) fn end(&self, id: &TargetId, now: Instant) -> Option<(Instant, Refusal)> {
        let targets = self.lock();
        let (end, refusal) = targets.get(id)?.end(now)?;
        Some((end, refusal.clone()))
    }

    /// Whether any target of this origin is limited.
    pub(super) fn has_limited(&self, origin: Option<&Origin>, now: Instant) -> bool {
        let targets = self.lock();
        let mut here = targets
            .iter()
            .filter(|(id, _)| id.origin.as_ref() == origin);
        here.any(|(_, cooldown)| cooldown.end(now).is_some())
    }

    pub(super) fn refused(
        &self,
        id: TargetId,
        refusal: &Refusal,
        sent: Instant,
        now: Instant,
        no_hint: Duration,
    ) {
        let mut targets = self.lock();
        if targets.len() >= MOST && !targets.contains_key(&id) {
            forget_one(&mut targets, now);
        }
        targets
            .entry(id)
            .or_default()
            .refuse(refusal, sent, now, no_hint);
    }

    pub(super) fn succeeded(&self, id: &TargetId, sent: Instant) {
        if let Some(cooldown) = self.lock().get_mut(id) {
            cooldown.succeed(sent);
        }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The paths of targets are nobody's business.
        let models = self.lock();
        let models = models.keys().map(|id| &id.model);
        f.debug_list().entries(models).finish()
    }
}

/// Makes room: those that are free go, or else the one that frees first.
fn forget_one(targets: &mut HashMap<TargetId, Cooldown>, now: Instant) {
    targets.retain(|_, cooldown| cooldown.end(now).is_some());
    if targets.len() >= MOST {
        let ends = targets
            .iter()
            .filter_map(|(id, cooldown)| Some((cooldown.end(now)?.0, id)));
        if let Some(id) = ends.min_by_key(|(end, _)| *end).map(|(_, id)| id.clone()) {
            targets.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]

    use super::*;
    use crate::refusal::Reason;

    #[test]
    fn what_is_remembered_is_bounded() {
        let (memory, now) = (Memory::default(), Instant::now());
        let id = |number: usize| TargetId {
            origin: None,
            base_path: String::new(),
            model: Some(number.to_string().into()),
            account: None,
        };
        for number in 0..MOST + 10 {
            let at = now + Duration::from_millis(number as u64);
            memory.refused(
                id(number),
                &Refusal::new(Reason::RateLimited),
                at,
                at,
                Duration::from_secs(60),
            );
        }
        assert_eq!(memory.lock().len(), MOST);
        assert!(
            memory.end(&id(0), now).is_none(),
            "the one that frees first is forgotten first"
        );
        assert!(memory.end(&id(MOST + 9), now).is_some());
    }
}
