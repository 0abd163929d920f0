//! Which limit a rejection closes: that of the key or of its group, for one model or for all. Pure.

use crate::rejection::{Bucket, Reason, Rejection, Scope};

/// One of the limits that a request runs on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LimitLevel {
    Key,
    Group,
    Model,
    KeyOnModel,
}

/// Returns which limit a rejection closes; `None` if the request itself was at fault, or an unknown model.
pub(super) fn level(rejection: &Rejection, has_model: bool) -> Option<LimitLevel> {
    Some(match rejection {
        _ if rejection.is_denial() => {
            return (has_model && rejection.may_deny_model()).then_some(LimitLevel::KeyOnModel);
        }
        _ if is_of_key(rejection) => LimitLevel::Key,
        _ if has_model && !is_of_group(rejection) => LimitLevel::Model,
        _ => LimitLevel::Group,
    })
}

/// Returns whether a rejection leaves the key usable for the next call.
pub(crate) fn closes_nothing(rejection: &Rejection, has_model: bool) -> bool {
    level(rejection, has_model).is_none()
}

/// Returns whether a rejection limits the key, or its group, for every model.
pub(crate) fn is_of_every_model(rejection: &Rejection) -> bool {
    let is_of_model = rejection.remedies.model == Some(true);
    !is_of_model && !rejection.is_denial() && (is_of_key(rejection) || is_of_group(rejection))
}

fn is_of_key(rejection: &Rejection) -> bool {
    rejection.reason == Reason::KeyRejected || rejection.scope == Some(Scope::Key)
}

/// Returns whether a rejection limits a group for every model. If another model helps, it does not.
fn is_of_group(rejection: &Rejection) -> bool {
    if rejection.remedies.model == Some(true) {
        return false;
    }
    match rejection.scope {
        Some(Scope::Account | Scope::Project) => true,
        Some(_) => false,
        // Most providers count per model, and all of them bill per account.
        None => rejection.reason == Reason::QuotaExhausted,
    }
}

pub(super) fn is_reported_of_group(bucket: &Bucket) -> bool {
    let scope = bucket.scope;
    matches!(scope, Some(Scope::Account | Scope::Project | Scope::Key))
}
