//! Which window of an Anthropic subscription is exhausted.
//!
//! Every response carries the reset and the status of each window, also of a window with room left. It also
//! carries a status over all windows and the claim, which is the name of the window that binds
//! (gajae-code#2444, opencodex#3809, 2026).

use super::{
    builder::{BucketBuilder, BucketStatus},
    names::UNIFIED,
};

/// Marks the windows that did not reject, and applies the status over all windows to the window that the
/// claim names.
pub(super) fn settle(builders: &mut Vec<BucketBuilder<'_>>) {
    let overall = builders.iter().position(|it| it.subject == UNIFIED);
    let Some(overall) = overall.map(|at| builders.remove(at)) else {
        // The resets of several windows do not show which of them rejected.
        let has_status = builders.iter().any(|it| it.status.is_some());
        if has_status || windows(builders).count() > 1 {
            windows(builders).for_each(|it| it.mark(false));
        }
        return;
    };
    let claim = overall
        .claim
        .map(|(window, scope)| (Some(window), Some(scope)));
    let is_claimed = |it: &BucketBuilder<'_>| claim == Some((it.bucket.window, it.bucket.scope));
    for window in windows(builders) {
        // A reset alone says nothing if another header shows which window rejected.
        if !is_claimed(window) {
            window.mark(false);
        }
        // A window over its limit still admits requests while the account's overage does.
        if overall.status == Some(BucketStatus::Allowed) {
            window.status = overall.status;
        }
    }
    if let Some(claimed) = windows(builders).find(|it| is_claimed(it)) {
        claimed.bucket.reset = claimed.bucket.reset.max(overall.bucket.reset);
        if overall.status == Some(BucketStatus::Rejected) {
            claimed.status = overall.status;
        }
        return;
    }
    let mut overall = overall;
    if let Some((window, scope)) = claim {
        (overall.bucket.window, overall.bucket.scope) = (window, scope);
    }
    builders.push(overall);
}

/// Returns the windows of the subscription.
fn windows<'b, 'a>(
    builders: &'b mut [BucketBuilder<'a>],
) -> impl Iterator<Item = &'b mut BucketBuilder<'a>> {
    builders
        .iter_mut()
        .filter(|it| it.subject.starts_with(UNIFIED))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use http::{HeaderMap, HeaderName};

    use super::super::{
        super::types::{Scope, Window},
        Provider, ReportedBucket, named,
    };

    /// Returns the window, scope and reset in seconds of each exhausted bucket.
    fn exhausted(lines: &str) -> Vec<(Option<Window>, Option<Scope>, Option<u64>)> {
        let mut headers = HeaderMap::new();
        for line in lines.split("; ").filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").unwrap();
            let name: HeaderName = format!("anthropic-ratelimit-unified-{name}")
                .parse()
                .unwrap();
            headers.append(name, value.parse().unwrap());
        }
        let reported = named(&headers, Provider::Anthropic, SystemTime::UNIX_EPOCH);
        ReportedBucket::exhausted(&reported, None)
            .map(|bucket| {
                (
                    bucket.window,
                    bucket.scope,
                    bucket.reset.map(|it| Duration::as_secs(&it)),
                )
            })
            .collect()
    }

    #[test]
    fn only_a_window_that_rejected_is_exhausted() {
        let account = Some(Scope::Account);
        let five_hours = (Some(Window::FiveHours), account, Some(60));
        let week = (Some(Window::Week), account, Some(900));
        let of_model = (Some(Window::Week), Some(Scope::AccountModel), Some(900));
        let table: &[(&str, &[_])] = &[
            (
                "5h-status: rejected; 5h-reset: 60; 7d-status: allowed; 7d-reset: 900",
                &[five_hours],
            ),
            (
                "5h-status: REJECTED; 5h-reset: 60; 7d-status: allowed_warning; 7d-reset: 900",
                &[five_hours],
            ),
            (
                "5h-status: rejected; 5h-reset: 60; 7d-reset: 900",
                &[five_hours],
            ),
            (
                "5h-status: allowed; 5h-reset: 60; 7d-status: rejected; 7d-reset: 900",
                &[week],
            ),
            (
                "5h-status: allowed; 5h-reset: 60; 7d-status: allowed; 7d-reset: 900",
                &[],
            ),
            ("5h-status: ?; 5h-reset: 60", &[]),
            (
                "5h-status: ?; 5h-utilization: 1.08; 5h-reset: 60",
                &[five_hours],
            ),
            (
                "status: allowed; reset: 60; 5h-reset: 60; 7d-reset: 900",
                &[],
            ),
            (
                "status: allowed; 5h-status: rejected; 5h-reset: 60; overage-status: allowed",
                &[],
            ),
            (
                "status: rejected; representative-claim: five_hour; 5h-reset: 60; 7d-reset: 900",
                &[five_hours],
            ),
            (
                "status: rejected; representative-claim: seven_day; reset: 900",
                &[week],
            ),
            (
                "status: rejected; representative-claim: overage; reset: 60; 7d-reset: 900",
                &[(None, account, Some(60))],
            ),
            (
                "representative-claim: five_hour; 5h-reset: 60; 7d-reset: 900",
                &[five_hours],
            ),
            ("5h-reset: 60; 7d-reset: 900", &[]),
            ("7d-reset: 900", &[week]),
            (
                "5h-utilization: 1.08; 5h-reset: 60; 7d-utilization: 0.51; 7d-reset: 900",
                &[five_hours],
            ),
            (
                "status: rejected; representative-claim: seven_day_opus; 7d_opus-status: rejected; 7d_opus-reset: 900; 7d-status: allowed; 7d-reset: 70",
                &[of_model],
            ),
            (
                "status: allowed; 7d_opus-status: rejected; 7d_opus-reset: 900",
                &[],
            ),
            ("representative-claim: five_hour", &[]),
            ("", &[]),
        ];
        for (lines, expected) in table {
            assert_eq!(exhausted(lines), *expected, "{lines}");
        }
    }
}
