//! Which window of an Anthropic subscription is exhausted.
//!
//! Every response carries the resets of all windows, also of those with room left, a status for each
//! window, a status over all of them, and the claim: the name of the window that binds
//! (gajae-code#2444, opencodex#3809, 2026).

use super::{
    draft::{Draft, Status},
    names::UNIFIED,
};

/// Marks the windows that did not refuse, and lets the status over all windows stand for the one that
/// the claim names.
pub(super) fn settle(drafts: &mut Vec<Draft<'_>>) {
    if !drafts.iter().any(is_unified) {
        return;
    }
    let overall = drafts.iter().position(|draft| draft.subject == UNIFIED);
    let Some(overall) = overall.map(|at| drafts.remove(at)) else {
        // The resets of several windows do not say which of them refused.
        let is_told = drafts.iter().any(|draft| draft.status.is_some());
        if is_told || drafts.iter().filter(|draft| is_unified(draft)).count() > 1 {
            explain_resets(drafts, |_| false);
        }
        return;
    };
    let claim = overall.claim;
    let is_claimed = |draft: &Draft<'_>| {
        let (window, scope) = (draft.bucket.window, draft.bucket.scope);
        is_unified(draft)
            && claim.is_some_and(|claim| (window, scope) == (Some(claim.0), Some(claim.1)))
    };
    explain_resets(drafts, is_claimed);
    // A window over its limit passes while the account's overage does.
    if overall.status == Some(Status::Allowed) {
        for draft in drafts.iter_mut().filter(|draft| is_unified(draft)) {
            draft.status = overall.status;
        }
    }
    match drafts.iter_mut().find(|draft| is_claimed(draft)) {
        Some(claimed) => {
            claimed.bucket.reset = claimed.bucket.reset.max(overall.bucket.reset);
            if overall.status == Some(Status::Rejected) {
                claimed.status = overall.status;
            }
        }
        None => drafts.push(overall.with_claim()),
    }
}

fn is_unified(draft: &Draft<'_>) -> bool {
    draft.subject.starts_with(UNIFIED)
}

/// Where something else says which window refused, a reset alone says nothing.
fn explain_resets(drafts: &mut [Draft<'_>], except: impl Fn(&Draft<'_>) -> bool) {
    let mut drafts = drafts.iter_mut();
    while let Some(draft) = drafts.find(|draft| is_unified(draft) && !except(draft)) {
        draft.level.report(false);
    }
}

// === impl Draft ===

impl Draft<'_> {
    /// As the bucket of the window that its claim names.
    fn with_claim(mut self) -> Self {
        if let Some((window, scope)) = self.claim {
            self.bucket.window = Some(window);
            self.bucket.scope = Some(scope);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use http::{HeaderMap, HeaderName};

    use super::super::{Provider, Reported, Scope, Window, named};

    /// The window, scope and reset in seconds of each exhausted bucket.
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
        Reported::exhausted(&reported, None)
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
    fn only_a_window_that_refused_is_exhausted() {
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
