//! The runs over time as an SVG: the requests of each process that have passed, and the rejected ones above them.

use std::fmt;

use crate::{
    provider::{LIMIT, WINDOW},
    runs::{CALLS, PROCESSES, Run},
    svg::{self, GRID, INK, LIMITED, PALE, line, rect, text},
    work::KEYS,
};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 130.0;
const RIGHT: f64 = 870.0;
/// The first run begins here.
const TOP: f64 = 110.0;
/// The height of a run, and what of it is empty.
const ROW: f64 = 150.0;
const GAP: f64 = 26.0;
/// How many bars a run has room for.
const BARS: usize = 120;
/// The width of an entry of the legend.
const COLUMN: f64 = 120.0;

const COLOURS: [&str; PROCESSES] = ["#2563eb", "#059669", "#7c3aed", "#d97706"];

pub(crate) struct Picture<'a> {
    runs: &'a [Run],
    seconds: f64,
    /// The most requests in a bar.
    highest: usize,
}

/// How many requests came in the time of a bar: those of each process that have passed, and the rejected ones.
#[derive(Clone, Copy, Default)]
struct Bar {
    passed: [usize; PROCESSES],
    rejected: usize,
}

// === impl Picture ===

impl<'a> Picture<'a> {
    pub(crate) fn of(runs: &'a [Run]) -> Self {
        let longest = runs.iter().map(|run| run.took).max().unwrap_or(WINDOW);
        let window = WINDOW.as_secs_f64();
        let mut picture = Self {
            runs,
            seconds: (longest.as_secs_f64() * 1.02 / window).ceil() * window,
            highest: 1,
        };
        let bars = runs.iter().flat_map(|run| picture.bars(run));
        picture.highest = bars.map(Bar::all).max().unwrap_or(1).max(1);
        picture
    }

    fn bars(&self, run: &Run) -> [Bar; BARS] {
        let mut bars = [Bar::default(); BARS];
        for entry in &run.log {
            let index = entry.at.as_secs_f64() / self.seconds * BARS as f64;
            let bar = &mut bars[(index as usize).min(BARS - 1)];
            match (entry.rejected, bar.passed.get_mut(entry.process)) {
                (false, Some(passed)) => *passed += 1,
                _ => bar.rejected += 1,
            }
        }
        bars
    }

    fn heading(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = format!(
            "{CALLS} calls by {PROCESSES} processes; each of {} keys may send {LIMIT} requests in {} s",
            KEYS.len(),
            WINDOW.as_secs()
        );
        text(f, LEFT, 34.0, "start", INK, 18, &title)?;
        let mut x = LEFT;
        for (number, colour) in (1..).zip(COLOURS) {
            rect(f, x, 57.0, 14.0, 14.0, colour)?;
            text(
                f,
                x + 22.0,
                69.0,
                "start",
                INK,
                14,
                &format!("process {number}"),
            )?;
            x += COLUMN;
        }
        rect(f, x, 57.0, 14.0, 14.0, LIMITED)?;
        text(f, x + 22.0, 69.0, "start", INK, 14, "429s")
    }

    fn axis(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let below = TOP + ROW * self.runs.len() as f64;
        let mut second = 0.0;
        while second <= self.seconds {
            let x = LEFT + (RIGHT - LEFT) * second / self.seconds;
            line(f, [(x, TOP), (x, below)], GRID, 1.0)?;
            text(f, x, below + 20.0, "middle", PALE, 12, &second.to_string())?;
            second += WINDOW.as_secs_f64();
        }
        let middle = (LEFT + RIGHT) / 2.0;
        text(f, middle, below + 44.0, "middle", PALE, 13, "seconds")
    }

    fn row(&self, f: &mut fmt::Formatter<'_>, index: usize, run: &Run) -> fmt::Result {
        let floor = TOP + ROW * (index + 1) as f64;
        let width = (RIGHT - LEFT) / BARS as f64;
        let height = |count: usize| (ROW - GAP) * count as f64 / self.highest as f64;
        line(f, [(LEFT, floor), (RIGHT, floor)], GRID, 1.0)?;
        text(f, LEFT - 12.0, floor - 50.0, "end", INK, 14, run.name)?;
        for (index, bar) in self.bars(run).iter().enumerate() {
            let (x, mut y) = (LEFT + width * index as f64, floor);
            let passed = bar.passed.iter().zip(COLOURS);
            for (count, colour) in passed.chain([(&bar.rejected, LIMITED)]) {
                if *count > 0 {
                    y -= height(*count);
                    rect(f, x, y, width - 1.0, height(*count), colour)?;
                }
            }
        }
        let (_, rejected) = run.counts();
        let rejected = format!("{rejected} 429s");
        text(
            f,
            RIGHT + 10.0,
            floor - 58.0,
            "start",
            LIMITED,
            13,
            &rejected,
        )?;
        let failed = format!("{} failed", run.failed);
        text(f, RIGHT + 10.0, floor - 40.0, "start", INK, 13, &failed)
    }
}

impl fmt::Display for Picture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        svg::open(f, WIDTH, TOP + ROW * self.runs.len() as f64 + 60.0)?;
        self.heading(f)?;
        self.axis(f)?;
        for (index, run) in self.runs.iter().enumerate() {
            self.row(f, index, run)?;
        }
        svg::close(f)
    }
}

// === impl Bar ===

impl Bar {
    fn all(self) -> usize {
        self.passed.iter().sum::<usize>() + self.rejected
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::provider::Entry;

    #[test]
    fn picture_has_a_row_for_each_run_and_a_red_bar_for_its_rejections() {
        let entry = |millis, rejected| Entry {
            at: Duration::from_millis(millis),
            process: 1,
            rejected,
        };
        let run = |name, log: Vec<Entry>| Run {
            name,
            log,
            failed: 7,
            took: WINDOW,
        };
        let runs = [
            run(
                "one",
                vec![entry(0, false), entry(1, true), entry(900, true)],
            ),
            run("other", vec![entry(0, false)]),
        ];
        let picture = Picture::of(&runs).to_string();
        let red = picture.matches(&format!("fill=\"{LIMITED}\"/>")).count();
        assert_eq!(red, 3, "two bars and the legend");
        for text in ["one", "other", "2 429s", "0 429s", "7 failed"] {
            assert!(picture.contains(&format!(">{text}</text>")), "{text}");
        }
    }
}
