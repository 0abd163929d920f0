use std::{fmt, sync::Arc};

/// An API key. Logs and snapshots name it by its label and never show it.
///
/// ```
/// use tower_429::key_rotation::Key;
///
/// let key = Key::new("sk-secret").label("team a").group("org 1");
/// assert_eq!(format!("{key:?}"), r#"Key { label: Some("team a"), group: Some("org 1"), .. }"#);
/// ```
///
/// A `&str` or a `String` is a key without label and group. The pool labels a key without a label `key-1`,
/// `key-2` and so on. A key without a group shares its limits with no other, until [responses show](Self::group)
/// that it does.
#[derive(Clone)]
pub struct Key {
    pub(super) secret: String,
    pub(super) label: Option<Arc<str>>,
    pub(super) group: Option<Arc<str>>,
}

// === impl Key ===

impl Key {
    /// Returns a key without a label and a group.
    pub fn new(secret: impl Into<String>) -> Self {
        Self {
            secret: secret.into(),
            label: None,
            group: None,
        }
    }

    /// Sets the name in logs, trails and snapshots.
    #[must_use]
    pub fn label(mut self, label: impl Into<Arc<str>>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Sets the organisation, project or account whose limits the key shares.
    ///
    /// Without a group, the pool finds out which keys share their limits where responses show it: by the
    /// account that they name (`openai-organization` with `openai-project`, `anthropic-organization-id`), or
    /// by remaining counts that fall together in one window. Until then it sends requests that are rejected.
    /// A given group goes first: its key never moves to another. [`KeyState`](super::KeyState) says for each
    /// key how its group is known.
    #[must_use]
    pub fn group(mut self, group: impl Into<Arc<str>>) -> Self {
        self.group = Some(group.into());
        self
    }
}

impl From<&str> for Key {
    fn from(secret: &str) -> Self {
        Self::new(secret)
    }
}

impl From<String> for Key {
    fn from(secret: String) -> Self {
        Self::new(secret)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("label", &self.label)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}
