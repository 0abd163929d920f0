//! Which target is asked next: the first that is free, the request's own before all.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Uri, Version, request};
use http_body::Body;
use tokio::time::Instant;

use super::{ErrorTrigger, Target, layer::Policy, memory::TargetId};
use crate::{
    attempt::{Decide, Draft, Outcome, Prepared, Verdict},
    call::Call,
    credentials,
    model::Model,
    origin::Origin,
    refusal::{Reason, Refusal},
    trail::{Action, Layer, Why},
};

pub(super) struct Decision<P> {
    policy: Policy<P>,
    /// `None` before the first send, and if the request asked for no fallback.
    own: Option<Own>,
    /// Who is asked now, and since when.
    chosen: Choice,
    sent: Option<Instant>,
    tried: Vec<Choice>,
}

/// The request as it came to this layer.
struct Own {
    uri: Uri,
    origin: Option<Origin>,
    /// `None` while only a body that has not been read yet could tell.
    model: Option<Model>,
    key: Option<Arc<str>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    Own,
    /// The target at this place of the list.
    Target(usize),
}

impl<P> Decision<P> {
    pub(super) fn new(policy: Policy<P>) -> Self {
        Self {
            policy,
            own: None,
            chosen: Choice::Own,
            sent: None,
            tried: Vec::new(),
        }
    }

    /// The choices that this request has, in order of preference.
    fn choices<'a>(&'a self, own: &'a Own) -> impl Iterator<Item = Choice> + 'a {
        let targets = self.policy.targets.iter().enumerate();
        let differ = targets.filter(|(_, target)| own.may_become(target));
        [Choice::Own]
            .into_iter()
            .chain(differ.map(|(index, _)| Choice::Target(index)))
    }

    fn id(&self, own: &Own, choice: Choice) -> TargetId {
        match choice {
            Choice::Own => own.id(),
            Choice::Target(index) => own.id_of(&self.policy.targets[index]),
        }
    }

    fn end(&self, own: &Own, choice: Choice, now: Instant) -> Option<(Instant, Refusal)> {
        self.policy.memory.end(&self.id(own, choice), now)
    }

    /// The first choice that is free, or else the one that frees first.
    fn first(&self, own: &Own, now: Instant) -> Choice {
        let end = |choice: &Choice| self.end(own, *choice, now).map(|(end, _)| end);
        self.choices(own).min_by_key(end).unwrap_or(Choice::Own)
    }

    /// The next choice that is free and was not tried, or why there is none.
    fn next(&self, own: &Own, now: Instant) -> Result<Choice, Why> {
        let mut untried = self
            .choices(own)
            .filter(|choice| !self.tried.contains(choice));
        let next = untried.find(|choice| self.end(own, *choice, now).is_none());
        let names_no_model = own.model.as_ref().is_none_or(Model::is_nowhere);
        let needs_model = self
            .policy
            .targets
            .iter()
            .any(|target| target.own_model().is_some());
        next.ok_or(match names_no_model && needs_model {
            true => Why::NoModel,
            false => Why::NoFreeTarget,
        })
    }

    /// When the first choice frees, and what it waits for; `None` if one is free.
    fn first_end(&self, own: &Own, now: Instant) -> Option<(Instant, Refusal)> {
        let ends = self.choices(own).map(|choice| self.end(own, choice, now));
        ends.min_by_key(|end| end.as_ref().map(|(end, _)| *end))
            .flatten()
    }

    /// Whether an untried target could be asked if the model were known.
    fn lacks_model(&self, own: &Own) -> bool {
        let names_model = |target: &Target| target.own_model().is_some();
        own.model.is_none() && self.policy.targets.iter().any(names_model)
    }

    fn remember<E>(&self, own: &Own, outcome: &Outcome<'_, E>) -> bool {
        // What is too large now may fit next time, and an unknown model cannot be told from others.
        let limit = outcome
            .refusal
            .filter(|refusal| refusal.reason != Reason::TooLarge);
        let (Some(refusal), Some(_)) = (limit, &own.model) else {
            return false;
        };
        let (id, sent) = (self.id(own, self.chosen), self.sent.unwrap_or(outcome.now));
        let memory = &self.policy.memory;
        memory.refused(id, refusal, sent, outcome.now, self.policy.no_hint);
        true
    }
}

impl<P: ErrorTrigger<E>, R, E> Decide<R, E> for Decision<P> {
    const LAYER: Layer = Layer::Fallback;

    fn poll_prepare<B>(&mut self, draft: &Draft<'_, B>, cx: &mut Context<'_>) -> Poll<Prepared<R>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if self.own.is_none() && !draft.call.is_without_fallback() {
            let mut own = Own::new(draft.head, draft.call);
            // A body that is still being uploaded is waited for only if it is to be changed now.
            let limited = || {
                self.policy
                    .memory
                    .has_limited(own.origin.as_ref(), draft.now)
            };
            if own.model.is_none() && (draft.recording.in_memory() || limited()) {
                own.model = ready!(read_model(draft, cx));
            }
            self.chosen = self.first(&own, draft.now);
            self.own = Some(own);
        }
        self.sent = Some(draft.now);
        Poll::Ready(Prepared::Send)
    }

    fn change(&mut self, head: &mut request::Parts, call: &Call) -> Option<Bytes> {
        let own = self.own.as_ref()?;
        match self.chosen {
            Choice::Own => {
                let model = own.model.as_ref().and_then(Model::name);
                call.ask(|asked| {
                    (asked.key, asked.model, asked.target) = (own.key.clone(), model, None);
                });
                None
            }
            Choice::Target(index) => own.turn_into(&self.policy.targets[index], head, call),
        }
    }

    fn poll_inform<B>(
        &mut self,
        outcome: &Outcome<'_, E>,
        draft: &Draft<'_, B>,
        cx: &mut Context<'_>,
    ) -> Poll<()>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let acts = outcome.left.is_ok() && self.policy.trigger.acts_on(outcome);
        let lacks_model = self.own.as_ref().is_some_and(|own| self.lacks_model(own));
        if acts && lacks_model {
            let model = ready!(read_model(draft, cx));
            if let Some(own) = &mut self.own {
                own.model = model;
            }
        }
        Poll::Ready(())
    }

    fn judge(&mut self, outcome: &Outcome<'_, E>) -> Verdict {
        let acts = self.policy.trigger.acts_on(outcome);
        let own = match &self.own {
            Some(own) => own,
            None if acts => return Verdict::Return(Why::FallbackOff),
            None => return Verdict::Pass,
        };
        if !acts {
            if let Some(sent) = self.sent.filter(|_| outcome.is_success()) {
                self.policy
                    .memory
                    .succeeded(&self.id(own, self.chosen), sent);
            }
            return Verdict::Pass;
        }
        let remembered = self.remember(own, outcome);
        if let Err(why) = outcome.left {
            return Verdict::Return(why);
        }
        self.tried.push(self.chosen);
        match self.next(own, outcome.now) {
            Ok(next) => {
                self.chosen = next;
                Verdict::Again {
                    action: Action::NextTarget,
                    wait: Duration::ZERO,
                }
            }
            Err(why) => match self.first_end(own, outcome.now).filter(|_| remembered) {
                Some((end, refusal)) => Verdict::Exhausted(
                    why,
                    Refusal {
                        retry_after: Some(end.saturating_duration_since(outcome.now)),
                        ..refusal
                    },
                ),
                None => Verdict::Return(why),
            },
        }
    }
}

/// Reads the model from the whole body; `None` if it cannot be had whole.
fn read_model<B>(draft: &Draft<'_, B>, cx: &mut Context<'_>) -> Poll<Option<Model>>
where
    B: Body<Data = Bytes> + Unpin,
{
    let body = ready!(draft.recording.poll_whole(cx));
    Poll::Ready(body.map(|body| Model::in_body(draft.head, &body)))
}

// === impl Own ===

impl Own {
    fn new(head: &request::Parts, call: &Call) -> Self {
        Self {
            origin: Origin::of(&head.uri),
            uri: head.uri.clone(),
            model: Model::in_path(head),
            key: call.asked().key,
        }
    }

    fn model_name(&self) -> Option<Arc<str>> {
        self.model.as_ref().and_then(Model::name)
    }

    fn id(&self) -> TargetId {
        TargetId {
            origin: self.origin.clone(),
            base_path: String::new(),
            model: self.model_name(),
            account: None,
        }
    }

    fn id_of(&self, target: &Target) -> TargetId {
        let elsewhere = target.own_origin().cloned();
        TargetId {
            origin: elsewhere.or_else(|| self.origin.clone()),
            base_path: target.base_path().into(),
            model: target.own_model().cloned().or_else(|| self.model_name()),
            account: (!target.headers().is_empty()).then(|| target.name()),
        }
    }

    /// Whether the target can be asked, and is not what the request asks by itself.
    fn may_become(&self, target: &Target) -> bool {
        let named = self.model_name();
        let possible = target.own_model().is_none() || named.is_some();
        let same_model = target
            .own_model()
            .is_none_or(|model| named.as_ref() == Some(model));
        let same = same_model && target.headers().is_empty() && target.uri(&self.uri) == self.uri;
        possible && !same
    }

    /// Makes the request one to the target.
    fn turn_into(&self, target: &Target, head: &mut request::Parts, call: &Call) -> Option<Bytes> {
        let body = match (&self.model, target.own_model()) {
            (Some(own), Some(model)) => own.change(head, model),
            _ => None,
        };
        let leaves = target
            .own_origin()
            .is_some_and(|origin| Some(origin) != self.origin.as_ref());
        head.uri = target.uri(&head.uri);
        if leaves {
            credentials::strip(head);
            // What was agreed on with one origin need not hold with another.
            head.version = Version::default();
        }
        for (name, value) in target.headers() {
            head.headers.insert(name, value.clone());
        }
        let model = target.own_model().cloned().or_else(|| self.model_name());
        call.ask(|asked| {
            asked.key = self.key.clone().filter(|_| !leaves);
            asked.model = model;
            asked.target = Some(target.name());
        });
        body
    }
}
