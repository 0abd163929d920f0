//! The numbers of names. A number is never used for another name. An unknown number reads as no name.

use tower_429::rejection::{Dimension, Reason, Scope, Window};

/// A name that has a number.
pub(super) trait Numbered: Copy + PartialEq + Sized + 'static {
    const NUMBERS: &'static [(u64, Self)];

    /// Returns its number; `None` for a name of a later version of the layers.
    fn number(self) -> Option<u64> {
        let found = Self::NUMBERS.iter().find(|(_, name)| *name == self);
        found.map(|(number, _)| *number)
    }

    fn of_number(number: u64) -> Option<Self> {
        let found = Self::NUMBERS.iter().find(|(known, _)| *known == number);
        found.map(|(_, name)| *name)
    }
}

impl Numbered for Reason {
    const NUMBERS: &'static [(u64, Self)] = &[
        (1, Self::RateLimited),
        (2, Self::QuotaExhausted),
        (3, Self::Overloaded),
        (4, Self::KeyRejected),
        (5, Self::TooLarge),
        (6, Self::Custom),
    ];
}

impl Numbered for Dimension {
    const NUMBERS: &'static [(u64, Self)] = &[
        (1, Self::Requests),
        (2, Self::Tokens),
        (3, Self::InputTokens),
        (4, Self::OutputTokens),
        (5, Self::Concurrency),
        (6, Self::Neurons),
        (7, Self::Spend),
    ];
}

impl Numbered for Window {
    const NUMBERS: &'static [(u64, Self)] = &[
        (1, Self::Second),
        (2, Self::Minute),
        (3, Self::FiveMinutes),
        (4, Self::Hour),
        (5, Self::FiveHours),
        (6, Self::Day),
        (7, Self::Week),
        (8, Self::Month),
    ];
}

impl Numbered for Scope {
    const NUMBERS: &'static [(u64, Self)] = &[
        (1, Self::Key),
        (2, Self::Project),
        (3, Self::Account),
        (4, Self::ProjectModel),
        (5, Self::AccountModel),
        (6, Self::Model),
        (7, Self::Platform),
        (8, Self::Request),
    ];
}
