//! Mistakes of a configuration and their lines.

use std::fmt;

use super::ConfigError;

/// Everything that is wrong with a configuration, by line.
#[derive(Debug)]
pub(crate) struct Mistakes(Vec<Mistake>);

/// One mistake and where it is.
#[derive(Debug)]
pub(crate) struct Mistake {
    file: String,
    line: Option<usize>,
    error: ConfigError,
}

// === impl Mistakes ===

impl Mistakes {
    /// Keeps the first mistake of each line, because the parser may stumble over one several times.
    pub(super) fn one_per_line(mistakes: impl Iterator<Item = Mistake>) -> Self {
        let mut mistakes = Self::from(mistakes.collect::<Vec<_>>());
        mistakes.0.dedup_by_key(|mistake| mistake.line);
        mistakes
    }

    /// Returns an error if there are mistakes.
    pub(crate) fn none_of(mistakes: Vec<Mistake>) -> Result<(), Self> {
        match mistakes.is_empty() {
            true => Ok(()),
            false => Err(Self::from(mistakes)),
        }
    }
}

impl From<Vec<Mistake>> for Mistakes {
    fn from(mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by_key(|mistake| mistake.line);
        Self(mistakes)
    }
}

impl From<ConfigError> for Mistakes {
    fn from(error: ConfigError) -> Self {
        Self(vec![Mistake::new("", None, error)])
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [mistake] = &*self.0 {
            return mistake.fmt(f);
        }
        write!(f, "{} mistakes", self.0.len())?;
        for mistake in &self.0 {
            write!(f, "\n{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

// === impl Mistake ===

impl Mistake {
    pub(super) fn new(file: &str, line: Option<usize>, error: ConfigError) -> Self {
        Self {
            file: file.into(),
            line,
            error,
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&*self.file, self.line) {
            ("", None) => {}
            ("", Some(line)) => write!(f, "line {line}: ")?,
            (file, None) => write!(f, "{file}: ")?,
            (file, Some(line)) => write!(f, "{file}:{line}: ")?,
        }
        self.error.fmt(f)
    }
}
