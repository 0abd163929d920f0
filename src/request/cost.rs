//! What a request takes from the limits of a provider.

mod estimate;
mod text;

/// The tokens that a request takes from the limits of a provider.
///
/// Providers count the prompt of a request when they admit it. Many also count the tokens that the request
/// reserves for the response. Sums saturate.
///
/// A caller can set the cost of a request with [`Call::cost`](crate::Call::cost), and a layer can count it
/// with a closure, such as [`BackoffLayer::cost`](crate::BackoffLayer::cost). Without both, the layers
/// estimate it from a JSON body:
///
/// - A token of the prompt is four bytes of text, keys included. A number, a boolean or a null below the
///   top level is one token. Most scripts other than Latin take more tokens than that. For example, a
///   Chinese character is about one token, and counts as 3/4.
/// - Images, sound and other data in base64 do not count.
/// - The tokens of the response are what the body reserves, such as `max_tokens`, for each of the `n`
///   responses. A body that reserves nothing counts as 0.
///
/// A body that is compressed or is not JSON counts as one token for four bytes.
///
/// ```
/// use tower_429::Cost;
///
/// let cost = Cost::new(1_200, 400);
/// assert_eq!((cost.input(), cost.output(), cost.total()), (1_200, 400, 1_600));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
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

    /// Estimates the cost of a body by its length in bytes alone.
    pub(crate) const fn of_length(length: u64) -> Self {
        Self::new(length.div_ceil(text::BYTES_PER_TOKEN), 0)
    }
}
