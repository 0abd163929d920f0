//! Why sharing cannot be set up, and why an exchange failed.

use std::fmt;

use redis::RedisError;

/// Why sharing cannot be set up. A server that cannot be reached is no such error.
///
/// Neither its text nor its `Debug` output contains the URL, because that may contain a password.
#[derive(Clone, Debug)]
pub struct Error(SetupError);

#[derive(Clone, Debug)]
enum SetupError {
    Url(String),
    Name,
}

/// Why an exchange failed. The driver handles all reasons alike.
#[derive(Debug)]
pub(crate) enum ExchangeError {
    /// The next attempt to connect is not due yet.
    Away,
    Client(RedisError),
    /// The server has an exchange of this process with a greater number.
    Late,
    /// The reply does not have the form that the script returns.
    Unreadable,
}

// === impl Error ===

impl Error {
    pub(crate) fn url(error: &RedisError) -> Self {
        Self(SetupError::Url(error.category().to_owned()))
    }

    pub(crate) fn name() -> Self {
        Self(SetupError::Name)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            SetupError::Url(why) => write!(f, "the URL of the server is not valid: {why}"),
            SetupError::Name => write!(f, "the name is empty or longer than 128 bytes"),
        }
    }
}

impl std::error::Error for Error {}

// === impl ExchangeError ===

impl From<RedisError> for ExchangeError {
    fn from(error: RedisError) -> Self {
        Self::Client(error)
    }
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away => write!(f, "the server cannot be reached"),
            Self::Client(error) => {
                // The rest of the text is from the server, and may contain parts of the request.
                let code = error.code().unwrap_or_else(|| error.category());
                write!(f, "the exchange failed: {code}")
            }
            Self::Late => write!(f, "a later exchange came first"),
            Self::Unreadable => write!(f, "the reply cannot be read"),
        }
    }
}

impl std::error::Error for ExchangeError {}
