//! What a layer tells the machine.

use std::{
    error::Error,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Extensions, Response, StatusCode, request};
use http_body::Body;
use tokio::time::Instant;

use crate::{
    call::{Call, Route, SendId, Sends},
    clock::Moment,
    head::Head,
    rejection::Rejection,
    replay::Recording,
    trail::{Action, Attempt, LayerKind, StopReason},
};

/// What a layer decides; the machine does the rest.
pub(crate) trait Decide<R, E> {
    /// Who decides, for the trail.
    const LAYER: LayerKind;

    /// Gets ready for the next send, which may take time, or answers in the inner service's place.
    ///
    /// Asked until the request goes out: while the inner service is not ready, to send means to make it
    /// ready, and then this is asked once more. It is pending only while the caller's upload is read,
    /// and asked again when the deadline is over.
    fn poll_prepare<B>(&mut self, _draft: &Draft<'_, B>, _cx: &mut Context<'_>) -> Poll<Prepared<R>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        Poll::Ready(Prepared::Send)
    }

    /// Changes the copy of the request that is about to be sent, and the route that the outer layers have
    /// chosen for it; returns a body to send in place of the caller's, if that changes too.
    fn change(
        &mut self,
        _head: &mut request::Parts,
        _route: &mut Route,
        _call: &Call,
    ) -> Option<Bytes> {
        None
    }

    /// Reads what the judgement needs of the request, which may take time.
    fn poll_inform<B>(
        &mut self,
        _outcome: &Outcome<'_, E>,
        _draft: &Draft<'_, B>,
        _cx: &mut Context<'_>,
    ) -> Poll<()>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        Poll::Ready(())
    }

    /// The error, if the layer knows its type to be one.
    fn as_error<'a>(&self, _error: &'a E) -> Option<&'a (dyn Error + 'static)> {
        None
    }

    /// What to do about an outcome; called once for each, rejections and all.
    fn judge(&mut self, outcome: &Outcome<'_, E>) -> Verdict;
}

/// The request as the caller gave it.
pub(crate) struct Draft<'a, B: Body> {
    pub(crate) head: &'a Arc<Head>,
    pub(crate) extensions: &'a Extensions,
    pub(crate) recording: &'a Recording<B>,
    pub(crate) call: &'a Call,
    /// What the outer layers have chosen.
    pub(crate) route: &'a Route,
    pub(crate) moment: &'a Moment,
    /// Whether the inner service is, so that the request goes out now if it is to be sent.
    pub(crate) is_ready: bool,
}

pub(crate) enum Prepared<R> {
    Send,
    /// It is held back: ask again then, or when woken before.
    Later(Instant),
    /// Nothing is sent; this is the answer.
    Answer(StopReason, Response<R>),
}

/// How an attempt ended, and what is left to spend.
pub(crate) struct Outcome<'a, E> {
    pub(crate) result: Result<StatusCode, &'a E>,
    pub(crate) rejection: Option<&'a Rejection>,
    /// Why the request cannot be sent again, if that is for its body.
    pub(crate) once: Option<StopReason>,
    pub(crate) call: &'a Call,
    /// What this layer sent; an inner layer may have sent several requests for it.
    pub(crate) send: SendId,
    /// The entry of the trail to which the result belongs.
    pub(crate) entry: SendId,
    pub(crate) moment: &'a Moment,
}

impl<E> Outcome<'_, E> {
    pub(crate) fn now(&self) -> Instant {
        self.moment.now()
    }

    /// What `read` makes of the attempt to which the result belongs; it must not use the call.
    pub(crate) fn of_attempt<T>(&self, read: impl FnOnce(&Attempt) -> T) -> Option<T> {
        self.call.of_entry(self.entry, read)
    }

    /// What `read` makes of all attempts that were made for this send; it must not use the call.
    pub(crate) fn of_sends<T>(&self, read: impl FnOnce(Sends<'_>) -> T) -> T {
        self.call.of_sends(self.send, read)
    }

    /// What is left until the deadline, if there is one, or why the request cannot be sent again.
    pub(crate) fn left(&self) -> Result<Option<Duration>, StopReason> {
        match self.once {
            Some(why) => Err(why),
            None => self.call.left(self.now()),
        }
    }

    /// Whether the provider did what it was asked; a 200 may begin with an error, which is a rejection.
    pub(crate) fn is_success(&self) -> bool {
        self.rejection.is_none() && self.result.is_ok_and(|status| status.is_success())
    }
}

pub(crate) enum Verdict {
    /// Not this layer's matter.
    Pass,
    Return(StopReason),
    /// Returned, with what the outer layers should make of it in place of what the response says.
    Exhausted(StopReason, Rejection),
    Again {
        action: Action,
        wait: Duration,
    },
    /// Sent again too, after about this time, for which the layer holds the request back itself until
    /// the limit of the rejection is over.
    Await(Duration, Rejection),
}

// === impl Draft ===

impl<B: Body> Draft<'_, B> {
    pub(crate) fn now(&self) -> Instant {
        self.moment.now()
    }
}

// === impl Verdict ===

impl Verdict {
    /// What the layer does; `None` if it is not its matter.
    pub(crate) fn action(&self) -> Option<Action> {
        match self {
            Self::Pass => None,
            Self::Return(why) | Self::Exhausted(why, _) => Some(Action::Return(*why)),
            Self::Again { action, .. } => Some(*action),
            Self::Await(wait, _) => Some(Action::Wait(*wait)),
        }
    }

    /// What the layer itself waits for, if it does.
    pub(crate) fn awaited(&self) -> Option<&Rejection> {
        match self {
            Self::Await(_, rejection) => Some(rejection),
            Self::Pass | Self::Return(_) | Self::Exhausted(..) | Self::Again { .. } => None,
        }
    }

    /// How long to wait before the request is sent again, if it is.
    pub(crate) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Again { wait, .. } => Some(*wait),
            Self::Await(..) => Some(Duration::ZERO),
            Self::Pass | Self::Return(_) | Self::Exhausted(..) => None,
        }
    }
}
