//! Keys from the environment. Only the last lines read it; the rest is pure.

use std::{env, ffi::OsString, sync::Arc};

use super::{Key, KeyPool, PoolError};

/// A variable that holds keys: its name and its text.
type Variable = (Arc<str>, String);

// === impl KeyPool ===

impl KeyPool {
    /// Returns a pool with the keys of an environment variable, as [`Key::from_env`] reads them.
    ///
    /// ```no_run
    /// use tower_429::{KeyPool, KeyRotationLayer};
    ///
    /// let pool = KeyPool::from_env("OPENAI_API_KEYS")?;
    /// let layer = KeyRotationLayer::new(pool);
    /// # Ok::<(), tower_429::key_rotation::PoolError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Key::from_env`] and of [`KeyPool::new`].
    pub fn from_env(name: &str) -> Result<Self, PoolError> {
        Self::new(Key::from_env(name)?)
    }
}

// === impl Key ===

impl Key {
    /// Reads keys from an environment variable: one key, or several with commas between.
    ///
    /// If the variable is not set, the numbered variables `NAME_1`, `NAME_2` and so on are read, in the order
    /// of their numbers, which may have gaps. If it is set, the numbered ones are ignored. White space around
    /// a key is removed. A key has the label of its variable, with its place if the variable holds several:
    /// `OPENAI_API_KEYS[2]` or `OPENAI_API_KEYS_2`.
    ///
    /// ```
    /// use tower_429::key_rotation::{Key, KeyPool, PoolError};
    ///
    /// let error = Key::from_env("UNSET_API_KEYS").unwrap_err();
    /// assert_eq!(error, PoolError::MissingVariable { variable: "UNSET_API_KEYS".into() });
    ///
    /// // Cargo sets this one for a test. It is no key, but shows how a pool is configured.
    /// let keys = Key::from_env("CARGO_PKG_NAME")?;
    /// let pool = KeyPool::builder(keys).header("x-api-key").build()?;
    /// assert_eq!(&*pool.snapshot()[0].label, "CARGO_PKG_NAME");
    /// # Ok::<(), PoolError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If no variable is set, or one is empty or is not Unicode. An empty key, as after a comma at the end, is
    /// an error when the pool is built, and so is a key that is there twice. Errors name the variable and
    /// never show its text.
    pub fn from_env(name: &str) -> Result<Vec<Self>, PoolError> {
        keys_of(name, env::vars_os())
    }
}

/// Returns the keys of a variable, or else of the numbered ones.
fn keys_of(
    name: &str,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<Key>, PoolError> {
    let mut plain = None;
    let mut numbered = Vec::new();
    for (variable, value) in variables {
        // A name that is not Unicode is not the one.
        let Some(variable) = variable.to_str() else {
            continue;
        };
        if variable == name {
            plain = Some((Arc::from(variable), value));
        } else if let Some(number) = number(name, variable) {
            numbered.push((number, (Arc::from(variable), value)));
        }
    }
    numbered.sort_by(|(one, _), (other, _)| one.cmp(other));
    let numbered = numbered.into_iter().map(|(_, variable)| variable);
    let variables: Vec<_> = match plain {
        Some(plain) => vec![plain],
        None => numbered.collect(),
    };
    if variables.is_empty() {
        return Err(PoolError::MissingVariable {
            variable: name.into(),
        });
    }
    let mut keys = Vec::new();
    for (variable, value) in variables {
        keys.extend(keys_in(text_of(variable, value)?));
    }
    Ok(keys)
}

/// Returns the number of a numbered variable, in a form that compares: a number may have any length.
fn number(name: &str, variable: &str) -> Option<(usize, String)> {
    let digits = variable.strip_prefix(name)?.strip_prefix('_')?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let significant = digits.trim_start_matches('0');
    is_number.then(|| (significant.len(), significant.into()))
}

fn text_of(variable: Arc<str>, value: OsString) -> Result<Variable, PoolError> {
    match value.into_string() {
        Ok(text) if text.trim().is_empty() => Err(PoolError::EmptyVariable { variable }),
        Ok(text) => Ok((variable, text)),
        // The error of the standard library would print the value.
        Err(_) => Err(PoolError::NonUnicodeVariable { variable }),
    }
}

fn keys_in((variable, text): Variable) -> Vec<Key> {
    let secrets: Vec<_> = text.split(',').map(str::trim).collect();
    if let [secret] = secrets[..] {
        return vec![Key::new(secret).label(variable)];
    }
    (1..)
        .zip(secrets)
        .map(|(place, secret)| Key::new(secret).label(format!("{variable}[{place}]")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(variables: &[(&str, &str)]) -> Result<Vec<Key>, PoolError> {
        let variables = variables
            .iter()
            .map(|(name, value)| (name.into(), value.into()));
        keys_of("KEYS", variables)
    }

    fn named(variables: &[(&str, &str)]) -> Vec<(String, String)> {
        let keys = keys(variables).expect("keys");
        let parts = keys.into_iter().map(|key| {
            let label = key.label.expect("a label");
            (label.to_string(), key.secret)
        });
        parts.collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(label, secret): &(&str, &str)| (label.to_string(), secret.to_string());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn list_is_split_at_commas_and_trimmed() {
        assert_eq!(named(&[("KEYS", "sk-a\n")]), pairs(&[("KEYS", "sk-a")]));
        assert_eq!(
            named(&[("OTHER", "x"), ("KEYS", " sk-a, sk-b ,sk-c\n")]),
            pairs(&[
                ("KEYS[1]", "sk-a"),
                ("KEYS[2]", "sk-b"),
                ("KEYS[3]", "sk-c")
            ])
        );
    }

    #[test]
    fn numbered_variables_are_read_in_the_order_of_their_numbers() {
        let variables = [
            ("KEYS_10", "sk-j"),
            ("KEYS_2", "sk-b"),
            ("KEYS_", "none"),
            ("KEYS_2B", "none"),
            ("KEYS_01", "sk-a"),
            ("MY_KEYS_1", "none"),
            ("KEYS_99999999999999999999999", "sk-y, sk-z"),
        ];
        let expected = [
            ("KEYS_01", "sk-a"),
            ("KEYS_2", "sk-b"),
            ("KEYS_10", "sk-j"),
            ("KEYS_99999999999999999999999[1]", "sk-y"),
            ("KEYS_99999999999999999999999[2]", "sk-z"),
        ];
        assert_eq!(named(&variables), pairs(&expected));
    }

    #[test]
    fn plain_variable_takes_precedence_over_numbered_ones() {
        for plain_first in [true, false] {
            let mut variables = [("KEYS", "sk-a"), ("KEYS_1", "sk-b")];
            if !plain_first {
                variables.reverse();
            }
            assert_eq!(named(&variables), pairs(&[("KEYS", "sk-a")]));
        }
        // It is set, and a value that is empty by mistake must not select other keys.
        let empty = keys(&[("KEYS", ""), ("KEYS_1", "sk-b")]).unwrap_err();
        assert_eq!(
            empty,
            PoolError::EmptyVariable {
                variable: "KEYS".into()
            }
        );
    }

    #[test]
    fn error_names_the_variable_that_is_missing_or_empty() {
        let missing = keys(&[("KEY", "sk-a"), ("KEYS_X", "sk-b")]).unwrap_err();
        let variable = || "KEYS".into();
        assert_eq!(
            missing,
            PoolError::MissingVariable {
                variable: variable()
            }
        );
        assert!(missing.to_string().contains("KEYS_1"), "{missing}");
        for blank in ["", " \n"] {
            let empty = keys(&[("KEYS", blank)]).unwrap_err();
            assert_eq!(
                empty,
                PoolError::EmptyVariable {
                    variable: variable()
                }
            );
        }
        let empty = keys(&[("KEYS_1", "sk-a"), ("KEYS_2", "")]).unwrap_err();
        assert!(empty.to_string().contains("\"KEYS_2\""), "{empty}");
    }

    #[cfg(unix)]
    #[test]
    fn error_of_a_text_that_is_not_unicode_does_not_show_it() {
        use std::os::unix::ffi::OsStringExt;

        let value = OsString::from_vec(b"sk-secret\xff".to_vec());
        let error = keys_of("KEYS", [("KEYS".into(), value)]).unwrap_err();
        let variable = "KEYS".into();
        assert_eq!(error, PoolError::NonUnicodeVariable { variable });
        let shown = format!("{error} {error:?}");
        assert!(
            shown.contains("KEYS") && !shown.contains("secret"),
            "{shown}"
        );
    }

    #[test]
    fn error_of_a_pool_names_the_element_and_not_the_key() {
        let table = [
            ("sk-secret,,sk-b", r#""KEYS[2]" is empty"#),
            ("sk-secret,", r#""KEYS[2]" is empty"#),
            ("sk-a,sk secret", r#""KEYS[2]" is empty or has a space"#),
            (
                "sk-secret,sk-b,sk-secret",
                r#""KEYS[1]" and "KEYS[3]" are the same secret"#,
            ),
        ];
        for (list, expected) in table {
            let keys = keys(&[("KEYS", list)]).expect("keys");
            let error = KeyPool::new(keys).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(expected) && !shown.contains("sk"), "{shown}");
        }
    }
}
