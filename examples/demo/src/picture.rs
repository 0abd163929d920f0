//! The runs over time as an SVG: how many calls were answered by when, how many the provider allowed by then, and
//! when the 429s came.

use std::fmt;

use crate::{
    runs::{CALLS, MODELS, PROJECTS, Run, WINDOW},
    svg::{self, GRID, INK, LIMITED, PALE, line, rect, text},
};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 614.0;
const LEFT: f64 = 120.0;
const RIGHT: f64 = 910.0;
/// The curves: from no call to all.
const TOP: f64 = 126.0;
const BOTTOM: f64 = 376.0;
/// One strip of 429s for each run.
const STRIPS: f64 = 414.0;
const STRIP: f64 = 34.0;
/// The width of an entry of the legend.
const COLUMN: f64 = 180.0;
/// How many bars a strip has room for.
const BARS: usize = 160;

const COLOURS: [&str; 4] = ["#7d8590", "#7c3aed", "#2563eb", "#059669"];

pub(crate) struct Picture<'a> {
    runs: &'a [Run],
    /// The time axis ends with a window.
    seconds: f64,
}

impl<'a> Picture<'a> {
    pub(crate) fn of(runs: &'a [Run]) -> Self {
        let longest = runs.iter().map(|run| run.took).max().unwrap_or(WINDOW);
        let window = WINDOW.as_secs_f64();
        let windows = (longest.as_secs_f64() * 1.02 / window).ceil();
        Self {
            runs,
            seconds: windows * window,
        }
    }

    fn x(&self, seconds: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * seconds / self.seconds
    }

    fn heading(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [large, small] = MODELS.map(|model| model.limit);
        let title = format!(
            "{CALLS} calls; each of {} keys may send {large} a minute to one model, {small} to another",
            PROJECTS.len()
        );
        text(f, LEFT, 34.0, "start", INK, 18, &title)?;
        let mut x = LEFT;
        for (run, colour) in self.runs.iter().zip(COLOURS) {
            line(f, [(x, 66.0), (x + 22.0, 66.0)], colour, 3.0)?;
            text(f, x + 30.0, 71.0, "start", INK, 14, run.name)?;
            dashed(f, &format!("M{x:.1} 84H{:.1}", x + 22.0), colour)?;
            let allowed = format!("allowed: {} a minute", run.allowed);
            text(f, x + 30.0, 88.0, "start", PALE, 12, &allowed)?;
            x += COLUMN;
        }
        rect(f, x, 57.0, 4.0, 16.0, LIMITED)?;
        text(f, x + 12.0, 71.0, "start", INK, 14, "429s")
    }

    fn axes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let below = STRIPS + STRIP * self.runs.len() as f64;
        let mut second = 0.0;
        while second <= self.seconds {
            let x = self.x(second);
            line(f, [(x, TOP), (x, below)], GRID, 1.0)?;
            text(f, x, below + 20.0, "middle", PALE, 12, &second.to_string())?;
            second += WINDOW.as_secs_f64();
        }
        let what = format!("seconds; {} s stand for a minute", WINDOW.as_secs());
        let middle = (LEFT + RIGHT) / 2.0;
        text(f, middle, below + 44.0, "middle", PALE, 13, &what)?;
        for calls in (0..=CALLS).step_by(CALLS / 3) {
            line(f, [(LEFT, y(calls)), (RIGHT, y(calls))], GRID, 1.0)?;
            text(
                f,
                LEFT - 10.0,
                y(calls) + 4.0,
                "end",
                PALE,
                12,
                &calls.to_string(),
            )?;
        }
        let (x, middle) = (LEFT - 62.0, (TOP + BOTTOM) / 2.0);
        writeln!(
            f,
            r#"<text x="{x}" y="{middle}" transform="rotate(-90 {x} {middle})" text-anchor="middle" fill="{PALE}" font-size="13">calls answered so far</text>"#
        )
    }

    /// A step up at the start of each window, as far as the calls reach.
    fn allowed(&self, f: &mut fmt::Formatter<'_>, run: &Run, colour: &str) -> fmt::Result {
        let window = WINDOW.as_secs_f64();
        let mut path = format!("M{LEFT:.1} {BOTTOM:.1}");
        let (mut allowed, mut start) = (0, 0.0);
        while allowed < CALLS && start < self.seconds {
            allowed = (allowed + run.allowed).min(CALLS);
            path += &format!("V{:.1}", y(allowed));
            start += window;
            if allowed < CALLS {
                path += &format!("H{:.1}", self.x(start));
            }
        }
        dashed(f, &path, colour)
    }

    /// A step up for each answer.
    fn curve(&self, f: &mut fmt::Formatter<'_>, run: &Run, colour: &str) -> fmt::Result {
        write!(f, r#"<path d="M{LEFT:.1} {BOTTOM:.1}"#)?;
        let (mut answered, mut last) = (0, 0.0);
        for entry in run.log.iter().filter(|entry| !entry.limited) {
            (answered, last) = (answered + 1, entry.at.as_secs_f64());
            write!(f, "H{:.1}V{:.1}", self.x(last), y(answered))?;
        }
        writeln!(
            f,
            r#"" fill="none" stroke="{colour}" stroke-width="2.5" stroke-linejoin="round"/>"#
        )?;
        let (x, y) = (self.x(last), y(answered));
        writeln!(
            f,
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="4.5" fill="{colour}"/>"#
        )?;
        if run.rejected > 0 {
            let note = format!("{} rejected", run.rejected);
            return text(f, x + 10.0, y + 19.0, "start", colour, 13, &note);
        }
        let took = format!("{:.1} s", run.took.as_secs_f64());
        text(f, x, y - 12.0, "middle", colour, 13, &took)
    }

    /// Bars, as high as there were 429s.
    fn strip(&self, f: &mut fmt::Formatter<'_>, index: usize, highest: usize) -> fmt::Result {
        let run = &self.runs[index];
        let floor = STRIPS + STRIP * (index + 1) as f64;
        let width = (RIGHT - LEFT) / BARS as f64;
        line(f, [(LEFT, floor), (RIGHT, floor)], GRID, 1.0)?;
        text(
            f,
            LEFT - 10.0,
            floor - 10.0,
            "end",
            COLOURS[index],
            12,
            run.name,
        )?;
        for (bar, count) in self
            .bars(run)
            .into_iter()
            .enumerate()
            .filter(|(_, count)| *count > 0)
        {
            // The square root, so that a few are seen next to many.
            let height = (STRIP - 6.0) * (count as f64 / highest as f64).sqrt();
            let x = LEFT + width * bar as f64;
            rect(f, x, floor - height, width - 1.0, height, LIMITED)?;
        }
        let limited = run.log.iter().filter(|entry| entry.limited).count();
        text(
            f,
            RIGHT + 8.0,
            floor - 10.0,
            "start",
            LIMITED,
            12,
            &limited.to_string(),
        )
    }

    fn bars(&self, run: &Run) -> [usize; BARS] {
        let mut bars = [0; BARS];
        for entry in run.log.iter().filter(|entry| entry.limited) {
            let bar = entry.at.as_secs_f64() / self.seconds * BARS as f64;
            bars[(bar as usize).min(BARS - 1)] += 1;
        }
        bars
    }
}

impl fmt::Display for Picture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        svg::open(f, WIDTH, HEIGHT)?;
        self.heading(f)?;
        self.axes(f)?;
        // The last first: where curves meet, the run with fewer layers is seen.
        for (run, colour) in self.runs.iter().zip(COLOURS).rev() {
            self.allowed(f, run, colour)?;
            self.curve(f, run, colour)?;
        }
        let bars = self.runs.iter().flat_map(|run| self.bars(run));
        let highest = bars.max().unwrap_or(1).max(1);
        for index in 0..self.runs.len() {
            self.strip(f, index, highest)?;
        }
        svg::close(f)
    }
}

fn dashed(f: &mut fmt::Formatter<'_>, path: &str, colour: &str) -> fmt::Result {
    writeln!(
        f,
        r#"<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.2" stroke-dasharray="5 4"/>"#
    )
}

fn y(calls: usize) -> f64 {
    BOTTOM - (BOTTOM - TOP) * calls as f64 / CALLS as f64
}
