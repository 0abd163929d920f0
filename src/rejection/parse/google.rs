//! The details of `google.rpc.Status` (`QuotaFailure`, `ErrorInfo`, `RetryInfo`).

use serde_json::Value;

use super::{
    super::types::Dimension,
    limit_name::{self, LimitName},
};

/// A quota that was exceeded, from a `QuotaFailure`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) limit: LimitName,
    /// How much it allows.
    pub(crate) value: Option<u64>,
}

/// Reads one violation: `quotaId` names dimension and window, `quotaMetric` only the dimension.
pub(super) fn quota(violation: &Value) -> Option<Quota> {
    let named = |key| {
        let name = violation.get(key).and_then(Value::as_str);
        limit_name::read(name.unwrap_or_default())
    };
    let (id, metric) = (named("quotaId"), named("quotaMetric"));
    // JSON of protocol buffers writes 64 bits as a string.
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    violation.is_object().then(|| Quota {
        limit: LimitName {
            dimension: id.dimension.or(metric.dimension),
            window: id.window.or(metric.window),
        },
        value: violation.get("quotaValue").and_then(number),
    })
}

// === impl Quota ===

impl Quota {
    /// Whether nothing is allowed: the model is not part of the plan.
    pub(crate) fn is_zero(&self) -> bool {
        self.value == Some(0)
    }
}

/// Returns the limit with the longest window. Of equal windows the one on requests decides, because a limit
/// on tokens still admits a smaller request.
pub(crate) fn decisive(quotas: &[Quota]) -> Option<&Quota> {
    let is_of_requests = |limit: LimitName| limit.dimension == Some(Dimension::Requests);
    quotas
        .iter()
        .max_by_key(|quota| (quota.limit.window, is_of_requests(quota.limit)))
}

pub(super) fn is_detail(kind: &str) -> bool {
    kind.contains("google.rpc.")
}

/// Whether it has the form of gRPC's names: `RESOURCE_EXHAUSTED`, `UNAVAILABLE`, ...
pub(super) fn is_status(status: &str) -> bool {
    let is_capital = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
    status.len() > 2 && status.bytes().all(is_capital)
}

/// Whether a message without details contains `limit: 0`.
pub(crate) fn names_a_limit_of_zero(message: &str) -> bool {
    let mut behind = message.split("limit: 0").skip(1);
    behind.any(|text| !text.starts_with(|c: char| c.is_ascii_digit() || c == '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_id(id: &str) -> Quota {
        quota(&serde_json::json!({ "quotaId": id, "quotaValue": "5" })).unwrap()
    }

    #[test]
    fn longest_window_decides_and_then_requests() {
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
    fn limit_of_zero_is_not_the_start_of_another_number() {
        assert!(names_a_limit_of_zero("limit: 0, model: x"));
        assert!(names_a_limit_of_zero("limit: 0"));
        assert!(!names_a_limit_of_zero("limit: 05"));
        assert!(!names_a_limit_of_zero("limit: 0.5"));
        assert!(!names_a_limit_of_zero("limit: 20"));
    }
}
