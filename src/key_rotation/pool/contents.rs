//! Which keys a pool has: they are added, removed and replaced. Pure.

use std::sync::{Arc, atomic::AtomicU64};

use super::{
    PoolError,
    group::KeyAccount,
    ids::KeyId,
    keys::{Entry, KeyInfo, Keys},
    placement::PreparedKey,
};

// === impl Keys ===

impl Keys {
    /// Returns the label of the next key that has none of its own.
    pub(super) fn default_label(&self) -> Arc<str> {
        (self.next_id..)
            .map(|number| Arc::from(format!("key-{number}")))
            .find(|label| self.find(label).is_none())
            .unwrap_or_else(|| "key".into())
    }

    pub(super) fn add(&mut self, key: PreparedKey) -> Result<(), PoolError> {
        if self.find(&key.label).is_some() {
            return Err(PoolError::DuplicateLabel { label: key.label });
        }
        self.check_secret(&key, None)?;
        let entry = self.entry(key);
        self.limits.has_new = true;
        self.limits.closed.forget();
        self.indexes.insert(entry.info.id, self.entries.len());
        self.entries.push(entry);
        Ok(())
    }

    pub(super) fn remove(&mut self, label: &str) -> Result<(), PoolError> {
        let label = Arc::from(label);
        let Some(index) = self.find(&label) else {
            return Err(PoolError::UnknownLabel { label });
        };
        if self.entries.len() == 1 {
            return Err(PoolError::LastKey { label });
        }
        self.entries.remove(index);
        if self.current > index {
            self.current -= 1;
        }
        self.current %= self.entries.len();
        self.forget_removed();
        Ok(())
    }

    /// Replaces a key; what is known of the old one does not apply to the new one.
    pub(super) fn replace(&mut self, label: &str, key: PreparedKey) -> Result<(), PoolError> {
        let Some(index) = self.find(label) else {
            let label = Arc::from(label);
            return Err(PoolError::UnknownLabel { label });
        };
        if self.find(&key.label).is_some_and(|other| other != index) {
            return Err(PoolError::DuplicateLabel { label: key.label });
        }
        self.check_secret(&key, Some(index))?;
        self.entries[index] = self.entry(key);
        self.limits.has_new = true;
        self.forget_removed();
        Ok(())
    }

    /// Returns an error if another key than the `replaced` one has the same secret.
    fn check_secret(&self, key: &PreparedKey, replaced: Option<usize>) -> Result<(), PoolError> {
        let mut others = self.entries.iter().enumerate();
        let same = others.find(|(index, entry)| {
            Some(*index) != replaced && *entry.info.credential == key.credential
        });
        match same {
            None => Ok(()),
            Some((_, entry)) => Err(PoolError::DuplicateSecret {
                label: key.label.clone(),
                other: entry.info.label.clone(),
            }),
        }
    }

    pub(super) fn find(&self, label: &str) -> Option<usize> {
        let mut entries = self.entries.iter();
        entries.position(|entry| *entry.info.label == *label)
    }

    fn entry(&mut self, key: PreparedKey) -> Entry {
        let number = self.next_id;
        self.next_id += 1;
        let own = self.new_group();
        let group_id = match &key.group {
            Some(name) => *self.groups.entry(name.clone()).or_insert(own),
            None => own,
        };
        self.limits.keys.get_or_insert(KeyId(number));
        Entry {
            info: Arc::new(KeyInfo {
                id: KeyId(number),
                label: key.label,
                credential: Arc::new(key.credential),
                secret_hash: key.secret_hash,
                uses: AtomicU64::new(0),
            }),
            group: key.group,
            group_id,
            account: KeyAccount::default(),
            #[cfg(feature = "share")]
            share_ids: key.share_ids,
            rejections: 0,
            reported_at: None,
        }
    }

    pub(super) fn forget_removed(&mut self) {
        let entries = self.entries.iter().enumerate();
        self.indexes = entries
            .map(|(index, entry)| (entry.info.id, index))
            .collect();
        let entries = &self.entries;
        let has_keys = |group| entries.iter().any(|entry| entry.group_id == group);
        self.groups.retain(|_, group| has_keys(*group));
        self.accounts.retain(|_, group| has_keys(*group));
        let indexes = &self.indexes;
        self.limits
            .retain(|key| indexes.contains_key(&key), has_keys);
    }
}
