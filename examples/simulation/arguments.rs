//! What may be said on the command line.

use std::path::PathBuf;

#[derive(Debug, Default)]
pub(crate) struct Arguments {
    pub(crate) seed: u64,
    pub(crate) picture: Option<PathBuf>,
    pub(crate) loopback: bool,
    pub(crate) orders: bool,
    pub(crate) golden: bool,
}

impl Arguments {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self {
            seed: 7,
            ..Self::default()
        };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--loopback" => arguments.loopback = true,
                "--orders" => arguments.orders = true,
                "--golden" => arguments.golden = true,
                "--picture" => {
                    let path = words.next().ok_or("--picture needs the name of a file")?;
                    arguments.picture = Some(path.into());
                }
                "--seed" => {
                    let seed = words.next().and_then(|seed| seed.parse().ok());
                    arguments.seed = seed.ok_or("--seed needs a whole number")?;
                }
                other => {
                    return Err(format!(
                        "{other:?} is unknown: use --seed, --picture, --loopback, --orders or --golden"
                    ));
                }
            }
        }
        Ok(arguments)
    }
}
