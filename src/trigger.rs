//! Which outcomes a layer acts on.

use std::{error::Error, fmt, ops::Deref};

use http::StatusCode;

use crate::{attempt::Outcome, rejection::Reason};

/// Which outcomes a layer acts on: some reasons, and by opt-in other statuses and errors.
#[derive(Clone)]
pub(crate) struct Trigger<P> {
    pub(crate) reasons: Vec<Reason>,
    pub(crate) status: fn(StatusCode) -> bool,
    pub(crate) error: P,
}

/// Which errors of the inner service a layer acts on.
pub trait RetryOnError<E>: sealed::Sealed<E> {
    #[doc(hidden)]
    fn acts_on(&self, error: &E) -> bool;

    /// The error, if the type is known to be one.
    #[doc(hidden)]
    fn as_error<'a>(&self, error: &'a E) -> Option<&'a (dyn Error + 'static)>;
}

/// No error of the inner service is acted on: the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoErrors;

/// The errors of type `E` for which a closure says so.
pub struct IfError<F, E> {
    acts_on: F,
    as_error: fn(&E) -> &(dyn Error + 'static),
}

/// An error that the log and the trail can describe: each [`Error`], and each box of one, such as
/// `Box<dyn Error + Send + Sync>`, `anyhow::Error` and `eyre::Report`.
///
/// A box of an error is no [`Error`] itself. `K` tells the two kinds apart, and is always inferred.
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

// === impl Trigger ===

impl<P> Trigger<P> {
    pub(crate) fn on_error<F, E, K>(self, acts_on: F) -> Trigger<IfError<F, E>>
    where
        E: AsError<K>,
    {
        Trigger {
            reasons: self.reasons,
            status: self.status,
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
        match (outcome.result, outcome.rejection) {
            (Err(error), _) => self.error.acts_on(error),
            (Ok(_), Some(rejection)) if self.reasons.contains(&rejection.reason) => true,
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
