//! The outcomes that a layer acts on.

use std::{error::Error, fmt, ops::Deref, sync::Arc};

use super::{message::ResponseHead, strategy::Outcome};
use crate::rejection::Reason;

/// The outcomes that a layer acts on: some reasons, and by opt-in other responses and errors.
#[derive(Clone)]
pub(crate) struct RetryOn<P> {
    pub(crate) reasons: Vec<Reason>,
    responses: Vec<Arc<IfResponse>>,
    pub(crate) error: P,
}

type IfResponse = dyn Fn(ResponseHead<'_>) -> bool + Send + Sync;

/// The errors of the inner service that a layer acts on.
pub trait RetryOnError<E>: sealed::Sealed<E> {
    #[doc(hidden)]
    fn acts_on(&self, error: &E) -> bool;

    /// The error as a trait object, if the type is known to be an error type.
    #[doc(hidden)]
    fn as_error<'a>(&self, error: &'a E) -> Option<&'a (dyn Error + 'static)>;
}

/// The layer acts on no error of the inner service: the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoErrors;

/// The layer acts on the errors of type `E` for which a closure returns `true`.
pub struct IfError<F, E> {
    acts_on: F,
    as_error: fn(&E) -> &(dyn Error + 'static),
}

/// An error that the log and the trail can describe. It is an [`Error`] or a box of one, such as
/// `Box<dyn Error + Send + Sync>`, `anyhow::Error` and `eyre::Report`.
///
/// A box of an error does not implement [`Error`] itself. `K` separates the two kinds, and is always
/// inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither an error nor a box of one",
    note = "`on_error` describes errors in the log, so their type must implement `std::error::Error`"
)]
pub trait AsError<K> {
    #[doc(hidden)]
    fn as_error(&self) -> &(dyn Error + 'static);
}

#[doc(hidden)]
#[derive(Debug)]
pub enum Itself {}

#[doc(hidden)]
#[derive(Debug)]
pub enum InBox {}

mod sealed {
    pub trait Sealed<E> {}
    impl<E> Sealed<E> for super::NoErrors {}
    impl<E, F: Fn(&E) -> bool> Sealed<E> for super::IfError<F, E> {}
}

// === impl AsError ===

impl<E: Error + 'static> AsError<Itself> for E {
    fn as_error(&self) -> &(dyn Error + 'static) {
        self
    }
}

impl<E: Deref<Target = dyn Error + Send + Sync>> AsError<InBox> for E {
    fn as_error(&self) -> &(dyn Error + 'static) {
        &**self
    }
}

// === impl RetryOn ===

impl RetryOn<NoErrors> {
    pub(crate) fn reasons(reasons: impl IntoIterator<Item = Reason>) -> Self {
        Self {
            reasons: reasons.into_iter().collect(),
            responses: Vec::new(),
            error: NoErrors,
        }
    }
}

impl<P> RetryOn<P> {
    pub(crate) fn add_response(
        &mut self,
        predicate: impl Fn(ResponseHead<'_>) -> bool + Send + Sync + 'static,
    ) {
        self.responses.push(Arc::new(predicate));
    }

    pub(crate) fn on_error<F, E, K>(self, acts_on: F) -> RetryOn<IfError<F, E>>
    where
        E: AsError<K>,
    {
        RetryOn {
            reasons: self.reasons,
            responses: self.responses,
            error: IfError {
                acts_on,
                as_error: E::as_error,
            },
        }
    }

    pub(crate) fn acts_on<E>(&self, outcome: &Outcome<'_, E>) -> bool
    where
        P: RetryOnError<E>,
    {
        let is_reason = |reason| self.reasons.contains(&reason);
        match outcome.result {
            Err(error) => self.error.acts_on(error),
            Ok(_) if outcome.rejection.is_some_and(|it| is_reason(it.reason)) => true,
            Ok(head) => self.responses.iter().any(|acts_on| acts_on(head)),
        }
    }
}

impl<P: fmt::Debug> fmt::Debug for RetryOn<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryOn")
            .field("reasons", &self.reasons)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

// === impl RetryOnError ===

impl<E> RetryOnError<E> for NoErrors {
    fn acts_on(&self, _: &E) -> bool {
        false
    }

    fn as_error<'a>(&self, _: &'a E) -> Option<&'a (dyn Error + 'static)> {
        None
    }
}

impl<E, F: Fn(&E) -> bool> RetryOnError<E> for IfError<F, E> {
    fn acts_on(&self, error: &E) -> bool {
        (self.acts_on)(error)
    }

    fn as_error<'a>(&self, error: &'a E) -> Option<&'a (dyn Error + 'static)> {
        Some((self.as_error)(error))
    }
}

// === impl IfError ===

impl<F: Clone, E> Clone for IfError<F, E> {
    fn clone(&self) -> Self {
        Self {
            acts_on: self.acts_on.clone(),
            as_error: self.as_error,
        }
    }
}

impl<F: Copy, E> Copy for IfError<F, E> {}

impl<F, E> fmt::Debug for IfError<F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::any::type_name::<F>())
    }
}
