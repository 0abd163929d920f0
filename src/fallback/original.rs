//! The request as it came to the layer, and how it is rewritten for a target.

use std::sync::Arc;

use bytes::Bytes;
use http::{Uri, Version, request};

use super::{
    Target,
    targets::{Account, TargetId},
};
use crate::{
    call::Head,
    call::{CallState, Route},
    quota::Demand,
    request::{Model, Origin, credentials},
};

pub(super) struct OriginalRequest {
    head: Arc<Head>,
    /// `None` if the path names no model and the body has not been read yet.
    pub(super) model: Option<Model>,
    pub(super) key: Option<Arc<str>>,
    /// What a send takes from the limits of a target.
    pub(super) demand: Demand,
}

// === impl OriginalRequest ===

impl OriginalRequest {
    pub(super) fn new(head: &Arc<Head>, route: &Route) -> Self {
        Self {
            head: head.clone(),
            model: Model::in_path(&head.uri),
            key: route.key.clone(),
            demand: Demand::default(),
        }
    }

    pub(super) fn origin(&self) -> Option<&Origin> {
        self.head.origin.as_ref()
    }

    pub(super) fn model_name(&self) -> Option<Arc<str>> {
        self.model.as_ref().and_then(Model::name)
    }

    pub(super) fn id(&self) -> TargetId {
        TargetId {
            origin: self.head.origin.clone(),
            base_path: String::new(),
            model: self.model_name(),
            account: self.account(),
        }
    }

    fn account(&self) -> Account {
        self.key.clone().map_or(Account::Any, Account::Key)
    }

    /// Returns the limits of the target at this index of the list.
    pub(super) fn id_of(&self, index: usize, target: &Target) -> TargetId {
        let elsewhere = target.own_origin().cloned();
        let account = match (&elsewhere, target.has_own_account()) {
            (_, true) => Account::Target(index),
            (None, false) => self.account(),
            // The key of the original request is not sent there.
            (Some(_), false) => Account::Any,
        };
        TargetId {
            origin: elsewhere.or_else(|| self.head.origin.clone()),
            base_path: target.base_path().into(),
            model: target.own_model().cloned().or_else(|| self.model_name()),
            account,
        }
    }

    /// Returns whether the request can be sent to the target, and differs there from the original.
    pub(super) fn accepts(&self, target: &Target) -> bool {
        let named = self.model_name();
        let possible = target.own_model().is_none() || named.is_some();
        let same_model = target
            .own_model()
            .is_none_or(|model| named.as_ref() == Some(model));
        let same = same_model
            && !target.changes(&self.head.headers)
            && target.uri(&self.head.uri).as_ref() == Some(&self.head.uri)
            && target.has_parameters_of(&self.head.uri);
        let uri = self.uri_at(target);
        possible && !same && uri.is_some_and(|uri| target.with_parameters(uri).is_some())
    }

    /// Returns the URI at the target, without its parameters; `None` if it is too long.
    fn uri_at(&self, target: &Target) -> Option<Uri> {
        match (&self.model, target.own_model()) {
            (Some(own), Some(model)) => target.uri(&own.uri_with(&self.head.uri, model)?),
            _ => target.uri(&self.head.uri),
        }
    }

    /// Returns whether the body is known to be fit for the change that this target needs.
    pub(super) fn is_verified_for(&self, target: &Target) -> bool {
        target.own_model().is_none() || self.model.as_ref().is_none_or(Model::is_verified)
    }

    /// Returns whether the body must still be checked before it can be changed.
    pub(super) fn is_unverified(&self) -> bool {
        self.model
            .as_ref()
            .is_some_and(|model| !model.is_verified())
    }

    /// Rewrites the request for the target; returns the new body, if that changes.
    pub(super) fn rewrite_for(
        &self,
        target: &Target,
        head: &mut request::Parts,
        route: &mut Route,
        call: &CallState,
    ) -> Option<Bytes> {
        let body = match (&self.model, target.own_model()) {
            (Some(own), Some(model)) => own.body_with(&mut head.headers, model),
            _ => None,
        };
        let leaves = target
            .own_origin()
            .is_some_and(|origin| Some(origin) != self.origin());
        if let Some(uri) = self.uri_at(target) {
            head.uri = uri;
        }
        if leaves {
            credentials::strip(head, &call.placed());
            // The version that was agreed on with one origin need not suit another.
            head.version = Version::default();
        }
        target.change(&mut head.headers);
        // After the caller's credentials are removed, because the target's own may be a parameter.
        if let Some(uri) = target.with_parameters(head.uri.clone()) {
            head.uri = uri;
        }
        if leaves {
            route.key = None;
        }
        route.model = target.own_model().cloned().or_else(|| self.model_name());
        route.target = Some(target.name());
        body
    }
}
