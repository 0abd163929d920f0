//! Wire form: the details of `google.rpc.Status` (`QuotaFailure`, `ErrorInfo`, `RetryInfo`).

use serde_json::Value;

use super::{Dimension, Window, words};

/// A quota that was exceeded, from a `QuotaFailure`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Quota {
    pub(super) dimension: Option<Dimension>,
    pub(super) window: Option<Window>,
    /// A quota of zero: the model is not part of the plan.
    pub(super) is_zero: bool,
}

/// One violation; `quotaId` names dimension and window, `quotaMetric` only the dimension.
pub(super) fn quota(violation: &Value) -> Option<Quota> {
    let text = |key| violation.get(key).and_then(Value::as_str);
    let id = words::limit(text("quotaId").unwrap_or_default());
    let metric = words::limit(text("quotaMetric").unwrap_or_default());
    let value = violation.get("quotaValue");
    violation.is_object().then(|| Quota {
        dimension: id.dimension.or(metric.dimension),
        window: id.window.or(metric.window),
        is_zero: value
            .is_some_and(|value| value.as_str() == Some("0") || value.as_u64() == Some(0)),
    })
}

/// The quota that decides: the longest window, and of equals the one on requests, because a limit
/// on tokens leaves room for a smaller request and a limit on requests for none.
pub(super) fn decisive(quotas: &[Quota]) -> Option<&Quota> {
    quotas
        .iter()
        .max_by_key(|quota| (quota.window, quota.dimension == Some(Dimension::Requests)))
}

pub(super) fn is_detail(kind: &str) -> bool {
    kind.contains("google.rpc.")
}

/// `RESOURCE_EXHAUSTED`, `UNAVAILABLE`, ...: the names of gRPC.
pub(super) fn is_status(status: &str) -> bool {
    status.len() > 2
        && status
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

/// `limit: 0` in a message without details.
pub(super) fn names_a_limit_of_zero(message: &str) -> bool {
    message
        .split("limit: 0")
        .skip(1)
        .any(|after| !after.starts_with(|c: char| c.is_ascii_digit() || c == '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_id(id: &str) -> Quota {
        quota(&serde_json::json!({ "quotaId": id, "quotaValue": "5" })).unwrap()
    }

    #[test]
    fn the_longest_window_decides_and_then_requests() {
        let quotas = [
            of_id("GenerateContentInputTokensPerModelPerDay-FreeTier"),
            of_id("GenerateRequestsPerDayPerProjectPerModel-FreeTier"),
            of_id("GenerateRequestsPerMinutePerProjectPerModel-FreeTier"),
        ];
        assert_eq!(decisive(&quotas), Some(&quotas[1]));
        assert_eq!(decisive(&quotas[..1]), Some(&quotas[0]));
        assert_eq!(decisive(&[]), None);
    }

    #[test]
    fn a_limit_of_zero_is_not_the_beginning_of_another_number() {
        assert!(names_a_limit_of_zero("limit: 0, model: x"));
        assert!(names_a_limit_of_zero("limit: 0"));
        assert!(!names_a_limit_of_zero("limit: 05"));
        assert!(!names_a_limit_of_zero("limit: 0.5"));
        assert!(!names_a_limit_of_zero("limit: 20"));
    }
}
