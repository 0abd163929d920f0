//! The arguments of the command line.

use std::{ops::RangeInclusive, path::PathBuf};

#[derive(Debug)]
pub(crate) struct Arguments {
    /// `--seed N` or `--seeds A..B`, the last included.
    pub(crate) seeds: RangeInclusive<u64>,
    /// A part of the names of the scenarios to run.
    pub(crate) only: String,
    pub(crate) picture: Option<PathBuf>,
    pub(crate) picture_tokens: Option<PathBuf>,
    /// Whether the policy by hand is left out, because it has no bars.
    pub(crate) bars: bool,
    pub(crate) loopback: bool,
    pub(crate) orders: bool,
    /// Whether each scenario of one process is compared with the same one if the process shares through an engine.
    pub(crate) shared: bool,
    pub(crate) golden: bool,
}

impl Arguments {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self {
            seeds: 7..=7,
            only: String::new(),
            picture: None,
            picture_tokens: None,
            bars: false,
            loopback: false,
            orders: false,
            shared: false,
            golden: false,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--bars" => arguments.bars = true,
                "--loopback" => arguments.loopback = true,
                "--orders" => arguments.orders = true,
                "--shared" => arguments.shared = true,
                "--golden" => arguments.golden = true,
                "--picture" => arguments.picture = Some(value()?.into()),
                "--picture-tokens" => arguments.picture_tokens = Some(value()?.into()),
                "--only" => arguments.only = value()?,
                "--seed" => {
                    let seed = number(&value()?)?;
                    arguments.seeds = seed..=seed;
                }
                "--seeds" => {
                    let seeds = value()?;
                    let (first, last) = seeds.split_once("..").ok_or("--seeds needs A..B")?;
                    arguments.seeds = number(first)?..=number(last)?;
                }
                other => {
                    return Err(format!(
                        "{other:?} is unknown: use --seed, --seeds, --only, --picture, \
                         --picture-tokens, --bars, --loopback, --orders, --shared or --golden"
                    ));
                }
            }
        }
        Ok(arguments)
    }
}

fn number(word: &str) -> Result<u64, String> {
    let number = word.parse();
    number.map_err(|_| format!("{word:?} is not a whole number"))
}
