//! The first scenario of tokens as an SVG: the tokens that each key has used of its windows over time, for two stacks.

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
/// The height of a key's row, the height of a full window, and the gap between two stacks.
const ROW: f64 = 56.0;
const FULL: f64 = 44.0;
const GAP: f64 = 64.0;
const KEYS: [&str; 4] = ["a", "b", "c", "d"];
const COLOURS: [&str; 4] = ["#2563eb", "#059669", "#7c3aed", "#d97706"];

/// The width of a step in seconds.
const STEP: f64 = 0.1;

/// The runs of this crate's stack and of the policy by hand, and the tokens of a window.
pub(crate) struct TokenPicture<'a>(pub(crate) &'a [Run; 2], pub(crate) u32);

impl TokenPicture<'_> {
    /// The time axis ends with a window.
    fn windows(&self) -> f64 {
        let longest = self.0.iter().map(|run| run.took.as_secs_f64());
        (longest.fold(0.0, f64::max) / WINDOW.as_secs_f64()).ceil()
    }

    fn x(&self, seconds: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * seconds / (self.windows() * WINDOW.as_secs_f64())
    }

    fn run(&self, f: &mut fmt::Formatter<'_>, run: &Run, name: &str, top: f64) -> fmt::Result {
        let limited = run.log.iter().filter(|entry| entry.status == 429).count();
        let title = format!("{name}: {limited} of {} requests rejected", run.log.len());
        text(f, LEFT, top - 14.0, "start", INK, 15, &title)?;
        let bottom = top + ROW * KEYS.len() as f64;
        for number in 0..=self.windows() as u32 {
            let second = f64::from(number) * WINDOW.as_secs_f64();
            let x = self.x(second);
            line(f, [(x, top), (x, bottom)], GRID, 1.0)?;
            let label = format!("{second} s");
            text(f, x, bottom + 18.0, "middle", PALE, 12, &label)?;
        }
        for (row, (key, colour)) in KEYS.iter().zip(COLOURS).enumerate() {
            let floor = top + ROW * (row + 1) as f64;
            let name = format!("key {key}");
            text(f, LEFT - 10.0, floor - 12.0, "end", colour, 13, &name)?;
            self.key(f, run, key, colour, floor)?;
        }
        Ok(())
    }

    /// Draws the tokens used in each window so far, the limit as a line, and 429s in red below.
    fn key(
        &self,
        f: &mut fmt::Formatter<'_>,
        run: &Run,
        key: &str,
        colour: &str,
        floor: f64,
    ) -> fmt::Result {
        let steps_of_window = (WINDOW.as_secs_f64() / STEP).round() as usize;
        let mut steps = vec![(0_u64, false); steps_of_window * self.windows() as usize];
        for entry in run.log.iter().filter(|entry| &*entry.key == key) {
            let step = (entry.at.as_secs_f64() / STEP) as usize;
            if let Some((tokens, is_limited)) = steps.get_mut(step) {
                match entry.status.is_success() {
                    true => *tokens += entry.cost.total(),
                    false => *is_limited = true,
                }
            }
        }
        let width = self.x(STEP) - self.x(0.0);
        let mut used = 0;
        for (index, (tokens, is_limited)) in steps.into_iter().enumerate() {
            let is_first = index % steps_of_window == 0;
            used = if is_first { tokens } else { used + tokens };
            let x = self.x(index as f64 * STEP);
            let height = FULL * used as f64 / f64::from(self.1);
            rect(f, x, floor - height, width, height, colour)?;
            if is_limited {
                rect(f, x, floor, width, 4.0, LIMITED)?;
            }
        }
        let limit = floor - FULL;
        line(f, [(LEFT, limit), (RIGHT, limit)], PALE, 0.5)?;
        line(f, [(LEFT, floor), (RIGHT, floor)], GRID, 1.0)
    }
}

impl fmt::Display for TokenPicture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = ROW * KEYS.len() as f64;
        svg::open(f, WIDTH, 2.0 * rows + GAP + TOP + 36.0)?;
        let title = format!(
            "What 64 workers use of {} tokens for each of four keys in six seconds",
            self.1
        );
        text(f, LEFT, 36.0, "start", INK, 19, &title)?;
        let [ours, by_hand] = self.0;
        self.run(f, ours, "KeyRotation, waiting in turn", TOP)?;
        let below = TOP + rows + GAP;
        self.run(f, by_hand, "a policy for tower::retry", below)?;
        text(f, RIGHT, 58.0, "end", LIMITED, 13, "red: 429")?;
        svg::close(f)
    }
}
