//! The bars that this crate's stack misses, and how far it may miss them.
//!
//! The bar itself stays as wanted. A row that misses it is listed here with the worst of seeds 1 to 20 and little
//! slack, so that it gets no worse. A row that meets its bar is removed.

use crate::bar::Measure::{self, *};

/// A row, the measure that misses its bar, the most that passes, and the reason.
#[derive(Debug)]
pub(crate) struct Shortfall {
    pub(crate) row: &'static str,
    pub(crate) measure: Measure,
    pub(crate) most: f64,
    pub(crate) because: &'static str,
}

const CHANCE: &str = "random rejections look like a limit until a probe passes";
const RETRIES: &str = "Backoff retries the same model after 1, 2 and 4 s, as documented";
const WAITS: &str = "calls wait for a key of the preferred model before they use the other";
const CAREFUL: &str = "a rate that is not reported is approached from below";
const LARGE_LAST: &str = "only large calls are left when the batch ends";
const HALF: &str = "smaller calls before it have used a little more than half of each window";
const UNSEEN: &str = "if nothing is reported, requests are counted instead of tokens";
const RESERVED: &str = "requests reserve a random surplus over what their responses take";
const BUCKET: &str = "reports of a bucket within two seconds are treated as one window";
const FAR: &str = "a lease takes 50 ms, in which little refills";
const MOMENT: &str = "a process finds out a moment late that there is more";
const RARE: &str = "an exchange is made only if there is a reason, so much is known late";
const ONE_SEED: &str = "on one seed of 20";

#[rustfmt::skip]
const ALL: &[Shortfall] = &[
    short("bucket: 16 shared, 1 ms, 780", OverIdeal, 1.13, MOMENT),
    short("bucket: 16 shared, 50 ms, 780", OverIdeal, 1.22, FAR),
    short("sliding: 16 shared, 50 ms, 780", OverIdeal, 1.37, RARE),
    short("sliding: 16 shared, 50 ms, 780", Wasted, 33.0, RARE),
    short("tokens: bucket: 4, 1 ms", OverIdeal, 1.12, ONE_SEED),
    short("tokens: bucket: 16, 1 ms", Wasted, 39.0, MOMENT),
    short("bucket, headers", Wasted, 15.0, ONE_SEED),
    short("one account, unnamed", Wasted, 80.0, ONE_SEED),
    short("5 % 429: K.w, round robin", P99, 1.67, ONE_SEED),
    short("20 % 429: K.w, fill first", P99, 5.5, CHANCE),
    short("20 % 429: K.w, round robin", P99, 12.9, CHANCE),
    short("20 % 429: K.w, least loaded", P99, 13.3, CHANCE),
    short("5 % 429: B > K.w, round robin", P99, 1.67, ONE_SEED),
    short("20 % 429: B > K.w, fill first", P99, 5.5, CHANCE),
    short("20 % 429: B > K.w, round robin", P99, 12.9, CHANCE),
    short("20 % 429: B > K.w, least loaded", P99, 13.3, CHANCE),
    short("5 % 529: F.w > K.w", P99, 1.1, WAITS),
    short("5 % 529: F > B", P99, 1.9, RETRIES),
    short("5 % 529: F > B > K", P99, 1.9, RETRIES),
    short("5 % 429: F", NotPreferred, 0.086, CHANCE),
    short("5 % 429: B > F", NotPreferred, 0.086, CHANCE),
    short("5 % 429: F.w > K.w", P99, 4.2, WAITS),
    short("5 % 429: F > B", P99, 1.9, RETRIES),
    short("5 % 429: F > B > K", P99, 1.9, RETRIES),
    short("20 % 503: F > B", P99, 8.8, RETRIES),
    short("20 % 503: F > B > K", P99, 9.0, RETRIES),
    short("20 a second: F", NotPreferred, 0.403, CAREFUL),
    short("20 a second: B > F", NotPreferred, 0.403, CAREFUL),
    short("20 a second: F.w > K.w", P99, 4.5, WAITS),
    short("20 a second: F.w > K.w", NotPreferred, 0.65, WAITS),
    short("20 a second: F.w > K.w", Rejected, 3.8, WAITS),
    short("20 a second: F > B", P99, 22.1, RETRIES),
    short("20 a second: F > B", Rejected, 67.0, RETRIES),
    short("20 a second: F > B > K", P99, 21.8, RETRIES),
    short("20 a second: F > B > K", Rejected, 66.0, RETRIES),
    short("outage, 503: F > B", P99, 9.6, RETRIES),
    short("outage, 503: F > B", IntoOutage, 300.0, RETRIES),
    short("outage, 503: F > B > K", P99, 9.4, RETRIES),
    short("outage, 503: F > B > K", IntoOutage, 300.0, RETRIES),
    short("outage, 529: F > B", P99, 9.6, RETRIES),
    short("outage, 529: F > B", IntoOutage, 300.0, RETRIES),
    short("outage, 529: F > B > K", P99, 9.4, RETRIES),
    short("outage, 529: F > B > K", IntoOutage, 300.0, RETRIES),
    short("background: requests, bucket", UnusedByBackground, 0.18, BUCKET),
    short("tokens: F.w, fixed, headers", Unused, 0.08, LARGE_LAST),
    short("tokens: bucket, on 429s", OverIdeal, 1.09, ONE_SEED),
    short("tokens: bucket, on 429s", Wasted, 63.0, ONE_SEED),
    short("tokens: bucket, silent", OverIdeal, 1.18, UNSEEN),
    short("tokens: bucket, silent", Wasted, 153.0, UNSEEN),
    short("tokens: fixed, headers", Unused, 0.075, LARGE_LAST),
    short("tokens: fixed, silent", OverIdeal, 1.53, UNSEEN),
    short("tokens: fixed, silent", Wasted, 125.0, UNSEEN),
    short("tokens: input and output apart", OverIdeal, 1.17, RESERVED),
    short("tokens: input and output apart", Wasted, 21.0, RESERVED),
    short("tokens: large, fixed", LongestOfLarge, 17.7, HALF),
];

const fn short(row: &'static str, measure: Measure, most: f64, because: &'static str) -> Shortfall {
    Shortfall {
        row,
        measure,
        most,
        because,
    }
}

/// Returns the shortfall of a row in a measure.
pub(crate) fn find(row: &str, measure: Measure) -> Option<&'static Shortfall> {
    ALL.iter()
        .find(|shortfall| shortfall.row == row && shortfall.measure == measure)
}

#[cfg(test)]
mod tests {
    use super::ALL;
    use crate::scenarios;

    #[test]
    fn every_shortfall_belongs_to_a_row() {
        let scenarios = scenarios::all();
        for shortfall in ALL {
            let mut names = scenarios.iter().map(|scenario| &scenario.name);
            assert!(names.any(|name| name == shortfall.row), "{}", shortfall.row);
        }
    }
}
