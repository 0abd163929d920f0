//! Which outcomes a layer acts on.

use std::fmt;

use http::StatusCode;

use crate::{attempt::Outcome, refusal::Reason};

/// Which outcomes a layer acts on: some reasons, and by opt-in other statuses and errors.
#[derive(Clone)]
pub(crate) struct Trigger<P> {
    pub(crate) reasons: Vec<Reason>,
    pub(crate) status: fn(StatusCode) -> bool,
    pub(crate) error: P,
}

/// Which errors of the inner service a layer acts on.
pub trait ErrorTrigger<E>: sealed::Sealed<E> {
    #[doc(hidden)]
    fn acts_on(&self, error: &E) -> bool;
}

/// No error of the inner service is acted on: the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoErrors;

/// The errors for which a closure says so.
#[derive(Clone, Copy)]
pub struct ErrorsIf<F>(pub(crate) F);

mod sealed {
    pub trait Sealed<E> {}
    impl<E> Sealed<E> for super::NoErrors {}
    impl<E, F: Fn(&E) -> bool> Sealed<E> for super::ErrorsIf<F> {}
}

// === impl Trigger ===

impl<P> Trigger<P> {
    pub(crate) fn on_error<F>(self, error: F) -> Trigger<ErrorsIf<F>> {
        Trigger {
            reasons: self.reasons,
            status: self.status,
            error: ErrorsIf(error),
        }
    }

    pub(crate) fn acts_on<E>(&self, outcome: &Outcome<'_, E>) -> bool
    where
        P: ErrorTrigger<E>,
    {
        match (outcome.result, outcome.refusal) {
            (Err(error), _) => self.error.acts_on(error),
            (Ok(_), Some(refusal)) if self.reasons.contains(&refusal.reason) => true,
            (Ok(status), _) => (self.status)(status),
        }
    }
}

impl<P: fmt::Debug> fmt::Debug for Trigger<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trigger")
            .field("reasons", &self.reasons)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

// === impl ErrorTrigger ===

impl<E> ErrorTrigger<E> for NoErrors {
    fn acts_on(&self, _: &E) -> bool {
        false
    }
}

impl<E, F: Fn(&E) -> bool> ErrorTrigger<E> for ErrorsIf<F> {
    fn acts_on(&self, error: &E) -> bool {
        (self.0)(error)
    }
}

impl<F> fmt::Debug for ErrorsIf<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::any::type_name::<F>())
    }
}
