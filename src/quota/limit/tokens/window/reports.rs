//! The reports with which the later ones of a window are compared. Pure.

use tokio::time::Instant;

use crate::{quota::limit::tokens::ReportedReset, rejection::Bucket, request::Cost};

/// The sum of the estimated costs of all requests up to one, and of those that are certainly counted before it;
/// `None` if they are not known.
pub(super) type SentUntil = (Option<Cost>, Option<Cost>);

/// One report, to which the next is compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastReport {
    pub(super) remaining: u64,
    pub(super) at: Instant,
    /// The sum of all estimated costs up to its request.
    pub(super) total: Option<Cost>,
    pub(super) reset: Option<ReportedReset>,
}

/// The report with which the others of a window are compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct FirstReport {
    pub(super) report: LastReport,
    /// The sum of all estimated costs that it certainly counts.
    pub(super) total: Option<Cost>,
    /// When it came. What is sent later is counted later.
    pub(super) came: Instant,
    /// What the requests were estimated to cost that were sent later, and whose responses have come.
    pub(super) completed: u64,
    /// The most that was counted since. Responses may come in another order than their requests.
    pub(super) counted: f64,
}

// === impl FirstReport ===

impl FirstReport {
    pub(super) fn new(report: LastReport, (_, total): SentUntil, came: Instant) -> Self {
        Self {
            report,
            total,
            came,
            completed: 0,
            counted: 0.0,
        }
    }
}

// === impl LastReport ===

impl LastReport {
    pub(super) fn of(
        bucket: &Bucket,
        remaining: u64,
        (total, at): (Option<Cost>, Instant),
    ) -> Self {
        Self {
            remaining,
            at,
            total,
            reset: ReportedReset::of(bucket, at),
        }
    }
}
