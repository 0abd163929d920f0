//! The outcomes that a layer acts on.

use std::{error::Error, fmt, marker::PhantomData, ops::Deref, sync::Arc};

use super::{
    message::ResponseHead,
    strategy::Outcome,
    unavailable::{is_unavailable, was_not_sent},
};
use crate::rejection::Reason;

/// The outcomes that a layer acts on: some reasons, and by opt-in other responses and errors.
#[derive(Clone)]
pub(crate) struct RetryOn<P> {
    pub(crate) reasons: Vec<Reason>,
    responses: Vec<Arc<IfResponse>>,
    /// Whether the signs of an outage count too.
    unavailable: bool,
    pub(crate) error: P,
}

type IfResponse = dyn Fn(ResponseHead<'_>) -> bool + Send + Sync;

/// The errors of the inner service that a layer acts on.
#[diagnostic::on_unimplemented(
    message = "the error of the inner service is `{E}`, and `on_error` is for another type",
    label = "the closure of `on_error` must take a `&{E}`",
    note = "the error is that of the service inside the layer; `tower::timeout` and `tower::buffer` make it a \
            `Box<dyn Error + Send + Sync>`"
)]
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

/// The layer acts on errors that show that no connection was made, and on no others.
///
/// `on_unavailable` of a layer makes it. `K` is the kind of the error, as in [`AsError`], and always inferred.
pub struct IfUnavailable<K>(PhantomData<fn() -> K>);

/// An error that the log and the trail can describe. It is an [`Error`] or a box of one, such as
/// `Box<dyn Error + Send + Sync>`, `anyhow::Error` and `eyre::Report`.
///
/// A box of an error does not implement [`Error`] itself. `K` separates the two kinds, and is always
/// inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither an error nor a box of one",
    note = "`on_error` and `on_unavailable` describe errors in the log, so their type must implement \
            `std::error::Error`"
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

pub(crate) use sealed::OfKind;

mod sealed {
    pub trait Sealed<E> {}
    impl<E> Sealed<E> for super::NoErrors {}
    impl<E, F: Fn(&E) -> bool> Sealed<E> for super::IfError<F, E> {}
    impl<E: super::AsError<K>, K> Sealed<E> for super::IfUnavailable<K> {}

    /// What `on_error` may follow. An error of kind `K` tells which kind `on_unavailable` has left open.
    pub trait OfKind<K> {}
    impl<K> OfKind<K> for super::NoErrors {}
    impl<F, E, K> OfKind<K> for super::IfError<F, E> {}
    impl<K> OfKind<K> for super::IfUnavailable<K> {}
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
            unavailable: false,
            error: NoErrors,
        }
    }

    pub(crate) fn on_unavailable<K>(self) -> RetryOn<IfUnavailable<K>> {
        RetryOn {
            reasons: self.reasons,
            responses: self.responses,
            unavailable: true,
            error: IfUnavailable(PhantomData),
        }
    }
}

impl<F, E> RetryOn<IfError<F, E>> {
    pub(crate) fn and_unavailable(mut self) -> Self {
        self.unavailable = true;
        self
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
            unavailable: self.unavailable,
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
            Err(error) if self.error.acts_on(error) => true,
            Err(error) => self.unavailable && self.error.as_error(error).is_some_and(was_not_sent),
            Ok(head) if self.unavailable && is_unavailable(head.status) => true,
            Ok(_) if outcome.rejection.is_some_and(|it| is_reason(it.reason)) => true,
            Ok(head) => self.responses.iter().any(|acts_on| acts_on(head)),
        }
    }
}

impl<P: fmt::Debug> fmt::Debug for RetryOn<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryOn")
            .field("reasons", &self.reasons)
            .field("unavailable", &self.unavailable)
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

impl<E: AsError<K>, K> RetryOnError<E> for IfUnavailable<K> {
    fn acts_on(&self, error: &E) -> bool {
        was_not_sent(error.as_error())
    }

    fn as_error<'a>(&self, error: &'a E) -> Option<&'a (dyn Error + 'static)> {
        Some(error.as_error())
    }
}

// === impl IfUnavailable ===

impl<K> Clone for IfUnavailable<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for IfUnavailable<K> {}

impl<K> fmt::Debug for IfUnavailable<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IfUnavailable")
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
