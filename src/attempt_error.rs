//! What the log and the trail say of an error.

use std::{any::type_name, borrow::Cow, error::Error, fmt, io, iter, sync::Arc};

use crate::{
    call::Call,
    head::Head,
    request::{credentials, redact::redact},
};

/// Longer messages are cut.
const MOST_BYTES: usize = 512;
const MOST_SOURCES: usize = 16;

/// The error of an attempt, as it may be logged.
///
/// The caller gets the error itself. A layer can describe an error only where its type is known to be
/// one, which is what `on_error` of [`BackoffLayer`](crate::BackoffLayer::on_error) and
/// [`FallbackLayer`](crate::FallbackLayer::on_error) require.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttemptError {
    /// The [kind](io::ErrorKind) of the I/O error that caused it, such as `ConnectionReset`; without
    /// one, the name of the error's type.
    pub kind: Cow<'static, str>,
    /// The message of the error and those of its sources, at most 512 bytes.
    ///
    /// URLs are cut down to scheme, host and port, and the request's own path is removed. So are
    /// credentials: those of the request, the keys that layers have put on it, and what is marked as one
    /// or looks like a key.
    /// `None` if no layer of the stack that saw the error has `on_error`.
    pub text: Option<Arc<str>>,
}

// === impl AttemptError ===

impl AttemptError {
    /// Describes an error by its type alone.
    pub(crate) fn of_type<E>() -> Self {
        Self {
            kind: type_name::<E>().into(),
            text: None,
        }
    }

    /// An error of type `E` that a request of this call with this head ended in.
    pub(crate) fn new<E>(error: &(dyn Error + 'static), head: &Head, call: &Call) -> Self {
        let io = sources(error).find_map(<dyn Error>::downcast_ref::<io::Error>);
        let kind = match io.map(io::Error::kind) {
            None | Some(io::ErrorKind::Other) => type_name::<E>().into(),
            Some(kind) => format!("{kind:?}").into(),
        };
        let mut secrets = credentials::secrets(&head.uri, &head.headers);
        for key in call.keys() {
            key.add_secrets(&mut secrets);
        }
        let mut text = redact(&chain(error), secrets);
        if head.uri.path().len() > 1 {
            text = text.replace(head.uri.path(), "/…");
        }
        let end = (0..=MOST_BYTES).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or_default());
        Self {
            kind,
            text: Some(text.into()),
        }
    }
}

impl fmt::Display for AttemptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error ({})", self.kind)?;
        match &self.text {
            Some(text) => write!(f, ": {text}"),
            None => Ok(()),
        }
    }
}

/// An error and its sources; the bound ends a circle of sources.
fn sources<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |&error| error.source()).take(MOST_SOURCES)
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let mut chain = String::new();
    for message in sources(error).map(ToString::to_string) {
        // Some errors repeat what their source says.
        if chain.ends_with(&message) {
            continue;
        }
        if !chain.is_empty() {
            chain.push_str(": ");
        }
        chain.push_str(&message);
    }
    chain
}
