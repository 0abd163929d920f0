use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::request::{
    Origin, credentials::is_credential_parameter, has_parameter, with_parameter, with_path,
};

/// What a request is sent to instead: another model, another origin, or both.
///
/// A `&str` or a `String` is a model at the request's own origin.
///
/// ```
/// use http::{HeaderValue, header};
/// use tower_429::fallback::Target;
///
/// let cheaper = Target::model("gpt-4o-mini");
/// // `/v1/chat/completions` becomes `/v1beta/openai/chat/completions` there.
/// let elsewhere = Target::model("gemini-2.5-flash")
///     .at("https://generativelanguage.googleapis.com/v1beta/openai")?
///     .strip_prefix("/v1")
///     .header(header::AUTHORIZATION, HeaderValue::from_static("Bearer AIza-secret"));
/// let other_region = Target::same_model_at("https://eu.api.example")?;
/// # Ok::<(), tower_429::fallback::TargetError>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Target {
    model: Option<Arc<str>>,
    base: Option<Base>,
    prefix: Option<Arc<str>>,
    parameters: Vec<(Arc<str>, Arc<str>)>,
    headers: HeaderMap,
    removed: Vec<HeaderName>,
    label: Option<Arc<str>>,
}

#[derive(Clone, PartialEq)]
struct Base {
    uri: Uri,
    origin: Origin,
}

/// The reason why a target cannot be built. It never contains the address, which may hold a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TargetError {
    /// The address is not an absolute URI of the form `https://host/path`, without user and query.
    InvalidAddress,
}

// === impl Target ===

impl Target {
    /// Returns a target with another model.
    pub fn model(model: impl Into<Arc<str>>) -> Self {
        Self {
            model: Some(model.into()),
            base: None,
            prefix: None,
            parameters: Vec::new(),
            headers: HeaderMap::new(),
            removed: Vec::new(),
            label: None,
        }
    }

    /// Returns a target with the request's own model at another origin: another region, a proxy, a second
    /// provider.
    ///
    /// The request is not read, so this works for every body.
    ///
    /// # Errors
    ///
    /// If `address` is not of the form `https://host` or `https://host/path`.
    pub fn same_model_at(address: &str) -> Result<Self, TargetError> {
        let target = Self {
            model: None,
            ..Self::model("")
        };
        target.at(address)
    }

    /// Sets the origin, and the base path that the path of the request is appended to.
    ///
    /// # Errors
    ///
    /// If `address` is not of the form `https://host` or `https://host/path`.
    pub fn at(mut self, address: &str) -> Result<Self, TargetError> {
        let (uri, origin) = Origin::of_address(address).ok_or(TargetError::InvalidAddress)?;
        self.base = Some(Base { uri, origin });
        Ok(self)
    }

    /// Removes `prefix` from the start of the request's path before the path is appended to the address;
    /// `/v1` and `/v1/` are the same.
    #[must_use]
    pub fn strip_prefix(mut self, prefix: impl AsRef<str>) -> Self {
        self.prefix = Some(prefix.as_ref().trim_end_matches('/').into());
        self
    }

    /// Sets a header on requests to this target, such as its own credential. It replaces the caller's.
    #[must_use]
    pub fn header(mut self, name: HeaderName, mut value: HeaderValue) -> Self {
        value.set_sensitive(true);
        self.removed.retain(|removed| *removed != name);
        self.headers.insert(name, value);
        self
    }

    /// Removes a header of the caller from requests to this target, such as `openai-organization`, which
    /// names an account that the target does not know.
    ///
    /// ```
    /// use http::HeaderName;
    /// use tower_429::fallback::Target;
    ///
    /// let target = Target::model("claude-haiku-4-5")
    ///     .without_header(HeaderName::from_static("anthropic-beta"));
    /// ```
    ///
    /// Of [`header`](Self::header) and this, the one that is called last applies. Credentials of the caller
    /// need not be removed, because they never go to another origin.
    #[must_use]
    pub fn without_header(mut self, name: HeaderName) -> Self {
        self.headers.remove(&name);
        self.removed.push(name);
        self
    }

    /// Sets a query parameter on requests to this target, such as Azure's `api-version`. It replaces the
    /// caller's parameters of this name.
    ///
    /// ```
    /// use tower_429::fallback::Target;
    ///
    /// let azure = Target::same_model_at("https://us.openai.azure.com")?
    ///     .query("api-version", "2024-10-21");
    /// # Ok::<(), tower_429::fallback::TargetError>(())
    /// ```
    ///
    /// The name and the value are percent-encoded. The target gets no request whose URI would become too
    /// long (over 65,534 bytes). A credential is better in a header, because URIs are logged more often.
    #[must_use]
    pub fn query(mut self, name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        let name = name.into();
        self.parameters.retain(|(other, _)| *other != name);
        self.parameters.push((name, value.into()));
        self
    }

    /// Sets the name in logs and trails; the default is the model and the host.
    #[must_use]
    pub fn label(mut self, label: impl Into<Arc<str>>) -> Self {
        self.label = Some(label.into());
        self
    }

    pub(super) fn own_model(&self) -> Option<&Arc<str>> {
        self.model.as_ref()
    }

    pub(super) fn own_origin(&self) -> Option<&Origin> {
        self.base.as_ref().map(|base| &base.origin)
    }

    /// Returns the headers and parameters that it sets.
    #[cfg(feature = "share")]
    pub(super) fn own_fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        let parameters = self.parameters.iter();
        headers.chain(parameters.map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    /// Returns whether its requests may be those of another account than the caller's: headers name one.
    pub(super) fn has_own_account(&self) -> bool {
        let mut names = self.parameters.iter().map(|(name, _)| name);
        let has_headers = !self.headers.is_empty() || !self.removed.is_empty();
        has_headers || names.any(|name| is_credential_parameter(name))
    }

    /// Returns whether a request with these headers is sent with others.
    pub(super) fn changes(&self, headers: &HeaderMap) -> bool {
        let mut removed = self.removed.iter();
        !self.headers.is_empty() || removed.any(|name| headers.contains_key(name))
    }

    /// Removes and sets headers of a request.
    pub(super) fn change(&self, headers: &mut HeaderMap) {
        for name in &self.removed {
            headers.remove(name);
        }
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
    }

    /// Returns whether the target's parameters leave a URI as it is.
    pub(super) fn has_parameters_of(&self, uri: &Uri) -> bool {
        let mut parameters = self.parameters.iter();
        parameters.all(|(name, value)| has_parameter(uri, name, value))
    }

    /// Returns the URI with the target's parameters; `None` if it is too long.
    pub(super) fn with_parameters(&self, uri: Uri) -> Option<Uri> {
        let mut parameters = self.parameters.iter();
        parameters.try_fold(uri, |uri, (name, value)| with_parameter(&uri, name, value))
    }

    /// Returns the path that its requests start with.
    pub(super) fn base_path(&self) -> &str {
        let path = self.base.as_ref().map_or("", |base| base.uri.path());
        path.trim_end_matches('/')
    }

    pub(super) fn name(&self) -> Arc<str> {
        let host = self.base.as_ref().map(|base| base.origin.host());
        match (&self.label, &self.model, host) {
            (Some(label), _, _) => label.clone(),
            (None, Some(model), None) => model.clone(),
            (None, Some(model), Some(host)) => format!("{model} at {host}").into(),
            (None, None, host) => host.unwrap_or_default().into(),
        }
    }

    /// Returns the URI at the target, without its parameters; `None` if it is too long.
    pub(super) fn uri(&self, uri: &Uri) -> Option<Uri> {
        let Some(base) = &self.base else {
            return Some(uri.clone());
        };
        let path = uri.path();
        let path = match self
            .prefix
            .as_deref()
            .and_then(|prefix| path.strip_prefix(prefix))
        {
            // A prefix ends with a segment: `/v1` is not a prefix of `/v10/chat`.
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
            _ => path,
        };
        let query = uri
            .query()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        let path = match self.base_path() {
            "" if path.is_empty() => "/".into(),
            base_path => format!("{base_path}{path}"),
        };
        with_path(&base.uri, &format!("{path}{query}"))
    }
}

impl From<&str> for Target {
    fn from(model: &str) -> Self {
        Self::model(model)
    }
}

impl From<String> for Target {
    fn from(model: String) -> Self {
        Self::model(model)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("label", &self.name())
            .field("model", &self.model)
            .field("origin", &self.own_origin())
            .finish_non_exhaustive()
    }
}

// === impl TargetError ===

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the address of a target is not of the form https://host or https://host/path")
    }
}

impl std::error::Error for TargetError {}

#[cfg(test)]
mod tests;
