//! What processes and an engine say to each other.

use std::time::Duration;

use super::{fact::Fact, id::Id};

/// What one process says in an exchange. Times are ages or remaining times, so no clock is compared.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Say {
    /// The process. It is another after a restart.
    pub replica: Id,
    /// The number of the exchange, which grows. What comes with a smaller number than before is late, and must not
    /// change anything.
    pub number: u64,
    /// The epoch of the engine that the process has heard last.
    pub epoch: Option<u64>,
    /// The process has heard of the facts up to this number.
    pub heard: u64,
    /// Limits of which the process wants to hear all facts, because it has met them since the last exchange.
    pub joins: Vec<Id>,
    /// What has changed.
    pub limits: Vec<LimitSay>,
    /// Whether the process ends: what it holds is free.
    pub is_last: bool,
}

/// What one process says of a limit.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LimitSay {
    /// The limit.
    pub limit: Id,
    /// What the process knows of it, if that has changed.
    pub fact: Option<Fact>,
    /// What the process has of it and what it wants, once for each unit that is limited.
    pub asks: Vec<(Unit, Ask)>,
}

/// What a limit counts. An engine grants each unit of a limit apart from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Unit {
    /// Requests.
    Requests,
    /// Tokens, of prompts and responses together.
    Tokens,
    /// Tokens of prompts.
    InputTokens,
    /// Tokens of responses.
    OutputTokens,
}

/// What a process has of a limit, and what it wants, in one unit. Tokens count as the processes estimate them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ask {
    /// What it holds: what is in flight and what it has leased beyond that.
    pub held: u64,
    /// What it has used since it began, and no longer holds.
    pub used: u64,
    /// How much more it wants.
    pub wanted: u64,
    /// How much more it needs at least. Less than that is of no use, and is not granted.
    pub least: u64,
    /// How much all processes may have used and hold together, by what the process knows, counted as
    /// [`Grant::used`] counts.
    pub ceiling: u64,
}

/// What the engine says back.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Hear {
    /// It changes when the engine has lost what it knew.
    pub epoch: u64,
    /// The number of the newest fact.
    pub heard: u64,
    /// The processes that were heard lately, this one included.
    pub replicas: Vec<Id>,
    /// Whether the engine has lost what it knew, and hears first what the processes hold. It grants nothing, and the
    /// processes do without it.
    pub is_learning: bool,
    /// The limits of which there is something to say.
    pub limits: Vec<LimitHear>,
}

/// What the engine says of a limit.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LimitHear {
    /// The limit.
    pub limit: Id,
    /// What was used and is granted, once for each unit.
    pub grants: Vec<(Unit, Grant)>,
    /// The facts of other processes that this one has not heard, each with its age.
    pub facts: Vec<(Id, Fact, Duration)>,
}

/// What the engine grants to a process in one unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// How much all processes have used in this epoch.
    pub used: u64,
    /// How much is leased to this process beyond what it holds.
    pub granted: u64,
}

// === impl Say ===

impl Say {
    /// Returns what a process says that has nothing to say.
    pub fn new(replica: Id, number: u64) -> Self {
        Self {
            replica,
            number,
            epoch: None,
            heard: 0,
            joins: Vec::new(),
            limits: Vec::new(),
            is_last: false,
        }
    }
}

// === impl LimitSay ===

impl LimitSay {
    /// Returns what a process says of a limit.
    pub fn new(limit: Id, fact: Option<Fact>, asks: Vec<(Unit, Ask)>) -> Self {
        Self { limit, fact, asks }
    }
}

// === impl Unit ===

impl Unit {
    /// Each unit.
    pub const ALL: [Self; 4] = [
        Self::Requests,
        Self::Tokens,
        Self::InputTokens,
        Self::OutputTokens,
    ];

    /// Returns the name by which engines can store it.
    ///
    /// ```
    /// use tower_429::share::Unit;
    ///
    /// assert_eq!(Unit::ALL.map(Unit::as_str), ["requests", "tokens", "input_tokens", "output_tokens"]);
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
        }
    }
}

// === impl Ask ===

impl Ask {
    /// Returns what a process holds and has used, and its ceiling for all. It wants no more.
    pub fn new((held, used): (u64, u64), ceiling: u64) -> Self {
        Self {
            held,
            used,
            ceiling,
            ..Self::default()
        }
    }

    /// Returns the same if it wants so much more, and needs at least a part of that.
    #[must_use]
    pub fn want(self, wanted: u64, least: u64) -> Self {
        Self {
            wanted,
            least,
            ..self
        }
    }
}

// === impl Grant ===

impl Grant {
    /// Returns a grant beside what all processes have used.
    pub fn new(used: u64, granted: u64) -> Self {
        Self { used, granted }
    }
}

// === impl Hear ===

impl Hear {
    /// Returns what an engine of this epoch says that has nothing to say.
    pub fn new(epoch: u64) -> Self {
        Self {
            epoch,
            heard: 0,
            replicas: Vec::new(),
            is_learning: false,
            limits: Vec::new(),
        }
    }
}

// === impl LimitHear ===

impl LimitHear {
    /// Returns what an engine says of a limit that nobody has used.
    pub fn new(limit: Id) -> Self {
        Self {
            limit,
            grants: Vec::new(),
            facts: Vec::new(),
        }
    }
}
