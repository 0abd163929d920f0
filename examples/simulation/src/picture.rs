//! The first scenario as an SVG: the requests of each key over time, with 429s marked, for two stacks.

use std::fmt;

use crate::{
    run::Run,
    scenarios::WINDOW,
    svg::{self, GRID, INK, LIMITED, PALE, line, rect, text},
};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 930.0;
const TOP: f64 = 96.0;
/// The height of a key's row, and the gap between two stacks.
const ROW: f64 = 44.0;
const GAP: f64 = 64.0;
const KEYS: [&str; 4] = ["a", "b", "c", "d"];
const COLOURS: [&str; 4] = ["#2563eb", "#059669", "#7c3aed", "#d97706"];

/// Requests within this time are one bar.
const BAR: f64 = 0.1;

/// The runs of this crate's stack and of the policy by hand.
pub(crate) struct Picture<'a>(pub(crate) &'a [Run; 2]);

impl Picture<'_> {
    /// The time axis ends with a window.
    fn seconds(&self) -> f64 {
        let longest = self.0.iter().map(|run| run.took.as_secs_f64());
        let window = WINDOW.as_secs_f64();
        let windows = longest.fold(0.0, f64::max) * 1.01 / window;
        windows.ceil() * window
    }

    fn x(&self, seconds: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * seconds / self.seconds()
    }

    fn height() -> f64 {
        2.0 * ROW * KEYS.len() as f64 + GAP + TOP + 36.0
    }

    fn run(&self, f: &mut fmt::Formatter<'_>, run: &Run, name: &str, top: f64) -> fmt::Result {
        let limited = run.log.iter().filter(|entry| entry.status == 429).count();
        let title = format!("{name}: {limited} of {} requests rejected", run.log.len());
        text(f, LEFT, top - 14.0, "start", INK, 15, &title)?;
        let bottom = top + ROW * KEYS.len() as f64;
        let mut second = 0.0;
        while second <= self.seconds() {
            let x = self.x(second);
            line(f, [(x, top), (x, bottom)], GRID, 1.0)?;
            let label = format!("{second} s");
            text(f, x, bottom + 18.0, "middle", PALE, 12, &label)?;
            second += WINDOW.as_secs_f64();
        }
        for (row, (key, colour)) in KEYS.iter().zip(COLOURS).enumerate() {
            let floor = top + ROW * (row + 1) as f64;
            let name = format!("key {key}");
            text(f, LEFT - 10.0, floor - 12.0, "end", colour, 13, &name)?;
            self.key(f, run, key, colour, floor)?;
        }
        Ok(())
    }

    /// Draws bars of the successes of a key, and of its rejections in red above them.
    fn key(
        &self,
        f: &mut fmt::Formatter<'_>,
        run: &Run,
        key: &str,
        colour: &str,
        floor: f64,
    ) -> fmt::Result {
        let mut bars = vec![[0_u32; 2]; (self.seconds() / BAR) as usize + 1];
        for entry in run.log.iter().filter(|entry| &*entry.key == key) {
            let bar = (entry.at.as_secs_f64() / BAR) as usize;
            let is_rejected = usize::from(entry.status == 429);
            if let Some(bar) = bars.get_mut(bar) {
                bar[is_rejected] += 1;
            }
        }
        let width = (self.x(BAR) - self.x(0.0)).max(2.0);
        for (index, counts) in bars.into_iter().enumerate() {
            let x = self.x(index as f64 * BAR);
            let mut top = floor;
            for (count, colour) in counts.into_iter().zip([colour, LIMITED]) {
                if count > 0 {
                    // The square root, so that a few are visible next to many.
                    let height = f64::from(count).sqrt() * 3.0;
                    top -= height;
                    rect(f, x, top, width, height, colour)?;
                }
            }
        }
        line(f, [(LEFT, floor), (RIGHT, floor)], GRID, 1.0)
    }
}

impl fmt::Display for Picture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        svg::open(f, WIDTH, Self::height())?;
        let title = "800 requests by 64 workers; each of four keys may send 50 in six seconds";
        text(f, LEFT, 36.0, "start", INK, 19, title)?;
        let [ours, by_hand] = self.0;
        self.run(f, ours, "KeyRotation, waiting in turn", TOP)?;
        let below = TOP + ROW * KEYS.len() as f64 + GAP;
        self.run(f, by_hand, "a policy for tower::retry", below)?;
        text(f, RIGHT, 36.0, "end", LIMITED, 13, "red: 429")?;
        svg::close(f)
    }
}
