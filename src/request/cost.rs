//! What a request takes from the limits of a provider.

/// The tokens that a request takes from the limits of a provider.
///
/// Providers count the prompt of a request when they admit it. Many also count the tokens that the request
/// reserves for the response. Sums saturate.
///
/// ```
/// use tower_429::Cost;
///
/// let cost = Cost::new(1_200, 400);
/// assert_eq!((cost.input(), cost.output(), cost.total()), (1_200, 400, 1_600));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cost {
    input: u64,
    output: u64,
}

// === impl Cost ===

impl Cost {
    /// Returns a cost of `input` tokens for the prompt and `output` tokens for the response.
    pub const fn new(input: u64, output: u64) -> Self {
        Self { input, output }
    }

    /// Returns the tokens of the prompt.
    pub const fn input(self) -> u64 {
        self.input
    }

    /// Returns the tokens that are reserved for the response.
    pub const fn output(self) -> u64 {
        self.output
    }

    /// Returns all tokens.
    pub const fn total(self) -> u64 {
        self.input.saturating_add(self.output)
    }

    pub(crate) const fn saturating_add(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
        }
    }

    pub(crate) const fn saturating_sub(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_sub(other.input),
            output: self.output.saturating_sub(other.output),
        }
    }
}
