//! The account that a response names. Pure.

use http::{HeaderMap, HeaderValue};

/// Organization and project, each where a provider names it.
///
/// OpenAI: "API overview", debugging requests. Anthropic: "API overview", response headers. OpenAI sends the
/// project since project keys exist.
const HEADERS: [(&str, Option<&str>); 2] = [
    ("openai-organization", Some("openai-project")),
    ("anthropic-organization-id", None),
];

/// No provider has a longer name. A longer one is not kept.
const MAX_LENGTH: usize = 128;

/// Separates the organization from the project of a name, and occurs in neither.
const SEPARATOR: char = '/';

/// The account whose limits a request ran on.
///
/// OpenAI sets limits per project, which are by default those of its organization ("List project rate
/// limits"). So two projects are two accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedAccount {
    organization: HeaderValue,
    project: Option<HeaderValue>,
}

// === impl NamedAccount ===

impl NamedAccount {
    /// Returns the account that the headers name. The values are shared with the headers, not copied.
    pub(crate) fn named_in(headers: &HeaderMap) -> Option<Self> {
        HEADERS.iter().find_map(|(organization, project)| {
            Some(Self {
                organization: headers.get(*organization).filter(is_name)?.clone(),
                project: project.and_then(|name| headers.get(name).filter(is_name).cloned()),
            })
        })
    }

    /// Whether a header of this name may name an account.
    pub(crate) fn is_named_by(header: &str) -> bool {
        // Nearly every header fails the first check.
        matches!(header.as_bytes(), [b'o' | b'a', b'p' | b'n', ..])
            && HEADERS
                .iter()
                .any(|(organization, _)| header == *organization)
    }

    /// Returns the organization, and after a `/` the project.
    pub(crate) fn name(&self) -> String {
        let mut name = text(&self.organization).to_owned();
        if let Some(project) = &self.project {
            name.push(SEPARATOR);
            name.push_str(text(project));
        }
        name
    }

    /// Returns whether `name` belongs to this account. An account without a project does not contradict the
    /// project of `name`.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        let (organization, project) = match name.split_once(SEPARATOR) {
            Some((organization, project)) => (organization, Some(project)),
            None => (name, None),
        };
        let own = self.project.as_ref().map(text);
        text(&self.organization) == organization && (own.is_none() || own == project)
    }
}

#[cfg(test)]
impl NamedAccount {
    pub(crate) fn of(organization: &'static str, project: Option<&'static str>) -> Self {
        Self {
            organization: HeaderValue::from_static(organization),
            project: project.map(HeaderValue::from_static),
        }
    }
}

/// Returns whether two names may be of one organization.
pub(crate) fn is_same_organization(one: &str, other: &str) -> bool {
    one.split(SEPARATOR).next() == other.split(SEPARATOR).next()
}

fn is_name(value: &&HeaderValue) -> bool {
    let is_of_name = |byte: &u8| byte.is_ascii_graphic() && *byte != b'/';
    !value.is_empty() && value.len() <= MAX_LENGTH && value.as_bytes().iter().all(is_of_name)
}

fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(pairs: &[(&'static str, &str)]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        NamedAccount::named_in(&headers).map(|account| account.name())
    }

    #[test]
    fn account_is_the_organization_and_the_project() {
        let organization = ("openai-organization", "org-1");
        let project = ("openai-project", "proj_2");
        assert_eq!(named(&[organization]).as_deref(), Some("org-1"));
        assert_eq!(
            named(&[organization, project]).as_deref(),
            Some("org-1/proj_2")
        );
        let anthropic = ("anthropic-organization-id", "7f3a");
        assert_eq!(named(&[anthropic]).as_deref(), Some("7f3a"));
        assert_eq!(named(&[project]), None, "a project without an organization");
        assert_eq!(named(&[("x-request-id", "org-1")]), None);
    }

    #[test]
    fn value_that_is_not_a_name_counts_as_missing() {
        let long = "o".repeat(MAX_LENGTH + 1);
        for value in ["", " ", "a b", "a/b", "\u{e9}", &long] {
            assert_eq!(named(&[("openai-organization", value)]), None, "{value:?}");
        }
    }

    #[test]
    fn response_without_a_project_does_not_contradict_one() {
        let (whole, part) = (
            NamedAccount::of("org-1", Some("proj_2")),
            NamedAccount::of("org-1", None),
        );
        assert!(whole.is_named("org-1/proj_2") && part.is_named("org-1/proj_2"));
        assert!(!whole.is_named("org-1") && part.is_named("org-1"));
        assert!(!part.is_named("org-2") && !whole.is_named("org-1/proj_3"));
        assert!(is_same_organization("org-1/proj_2", "org-1"));
        assert!(!is_same_organization("org-1/proj_2", "org-2/proj_2"));
    }
}
