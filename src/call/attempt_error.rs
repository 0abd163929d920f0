//! How an error appears in the log and in the trail.

use std::{any::type_name, borrow::Cow, error::Error, fmt, io, iter, sync::Arc};

use super::head::Head;
use crate::request::{
    credentials::{self, Credential},
    redact::redact,
};

/// Longer messages are truncated.
const MAX_BYTES: usize = 512;
const MAX_SOURCES: usize = 16;

/// The error of an attempt, as it may be logged.
///
/// The caller gets the error itself. A layer can describe an error only if it knows that the type is an error
/// type. It knows this from `on_error` of [`BackoffLayer`](crate::BackoffLayer::on_error) or
/// [`FallbackLayer`](crate::FallbackLayer::on_error).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct AttemptError {
    /// The [kind](io::ErrorKind) of the I/O error that caused it, such as `ConnectionReset`. Without an
    /// I/O error, the name of the error's type.
    pub kind: Cow<'static, str>,
    /// The messages of the error and its sources, at most 512 bytes.
    ///
    /// URLs are reduced to scheme, host and port, and the request's own path is removed. Credentials are
    /// removed too. These are the credentials of the request, the keys that the layers have added, and text
    /// that is marked as a credential or looks like one.
    ///
    /// `None` if no layer that saw the error has `on_error`.
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

    /// Describes an error of type `E`. The text contains neither the credentials of the head nor the `keys`
    /// that were put on it.
    pub(crate) fn new<E>(
        error: &(dyn Error + 'static),
        head: &Head,
        keys: &[Arc<Credential>],
    ) -> Self {
        let io = sources(error).find_map(<dyn Error>::downcast_ref::<io::Error>);
        let kind = match io.map(io::Error::kind) {
            None | Some(io::ErrorKind::Other) => type_name::<E>().into(),
            Some(kind) => format!("{kind:?}").into(),
        };
        let mut secrets = credentials::secrets(&head.uri, &head.headers);
        for key in keys {
            key.add_secrets(&mut secrets);
        }
        let mut text = redact(&chain(error), secrets);
        if head.uri.path().len() > 1 {
            text = text.replace(head.uri.path(), "/…");
        }
        let end = (0..=MAX_BYTES).rev().find(|at| text.is_char_boundary(*at));
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

/// An error and its sources. The bound ends a cycle of sources.
pub(crate) fn sources<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |&error| error.source()).take(MAX_SOURCES)
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let mut chain = String::new();
    for message in sources(error).map(ToString::to_string) {
        // Some errors repeat the message of their source.
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
