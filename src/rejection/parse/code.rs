//! The normal form of codes, types and names of errors.

/// Longer strings are not codes.
const LONGEST: usize = 128;

/// Returns a code in lower case with underscores, without the name spaces of AWS and of problem types.
pub(crate) fn normal(code: &str) -> Option<String> {
    let (_, code) = code.rsplit_once('#').unwrap_or(("", code));
    let (code, _) = code.split_once(':').unwrap_or((code, ""));
    let code = code.trim();
    let fits = !code.is_empty() && code.len() <= LONGEST;
    let code = fits.then(|| code.replace(['-', ' ', '.'], "_"))?;
    Some(code.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_form_has_no_name_space() {
        let table = [
            (
                "ThrottlingException:http://internal.amazon.com/coral/",
                "throttlingexception",
            ),
            (
                "com.amazon.coral.service#ThrottlingException",
                "throttlingexception",
            ),
            (
                "https://iana.org/assignments/http-problem-types#quota-exceeded",
                "quota_exceeded",
            ),
            (
                "Some resource has been exhausted",
                "some_resource_has_been_exhausted",
            ),
            ("permission-denied", "permission_denied"),
        ];
        for (code, expected) in table {
            assert_eq!(normal(code).as_deref(), Some(expected));
        }
        assert_eq!(normal(""), None);
        assert_eq!(normal(&"x".repeat(129)), None);
    }
}
