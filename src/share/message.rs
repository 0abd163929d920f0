//! The messages between processes and an engine.

use std::time::Duration;

use super::{fact::Fact, id::Id};

/// The request of one process. Times are ages or remaining times, so no clock is compared.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExchangeRequest {
    /// The process. It is another after a restart.
    pub replica: Id,
    /// The number of the exchange, which grows. A request with a smaller number than the last one is late, and must
    /// not change anything.
    pub number: u64,
    /// The epoch in the last response of the engine.
    pub epoch: Option<u64>,
    /// The number of the newest fact that the process has received.
    pub newest_fact: u64,
    /// New limits, for which the process needs all facts.
    pub new_limits: Vec<Id>,
    /// The limits that have changed.
    pub limits: Vec<LimitRequest>,
    /// Whether the process ends. Then its leases are free.
    pub is_last: bool,
}

/// The part of a request about one limit.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LimitRequest {
    /// The limit.
    pub limit: Id,
    /// What the process knows about it, if that has changed.
    pub fact: Option<Fact>,
    /// What the process holds and needs, once for each unit that is limited.
    pub leases: Vec<(Unit, LeaseRequest)>,
}

/// What a limit counts. An engine grants each unit of a limit apart from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
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

/// What a process holds of a limit, and what it needs, in one unit. Tokens count as the processes estimate them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseRequest {
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

/// The response of an engine.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExchangeResponse {
    /// It changes when the engine has lost what it knew.
    pub epoch: u64,
    /// The number of the newest fact.
    pub newest_fact: u64,
    /// The live processes, this one included.
    pub replicas: Vec<Id>,
    /// Whether the engine has lost what it knew, and first collects what the processes hold. Until then it grants
    /// nothing, and the processes send without leases.
    pub is_learning: bool,
    /// The limits with grants or new facts.
    pub limits: Vec<LimitResponse>,
}

/// The part of a response about one limit.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LimitResponse {
    /// The limit.
    pub limit: Id,
    /// What was used and is granted, once for each unit.
    pub grants: Vec<(Unit, Grant)>,
    /// New facts of other processes: the process, the fact, and its age.
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

// === impl ExchangeRequest ===

impl ExchangeRequest {
    /// Returns a request without content.
    pub fn new(replica: Id, number: u64) -> Self {
        Self {
            replica,
            number,
            epoch: None,
            newest_fact: 0,
            new_limits: Vec::new(),
            limits: Vec::new(),
            is_last: false,
        }
    }
}

// === impl LimitRequest ===

impl LimitRequest {
    /// Returns the part about one limit.
    pub fn new(limit: Id, fact: Option<Fact>, leases: Vec<(Unit, LeaseRequest)>) -> Self {
        Self {
            limit,
            fact,
            leases,
        }
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

// === impl LeaseRequest ===

impl LeaseRequest {
    /// Returns a request with what a process holds and has used, and its ceiling for all. It needs no more.
    pub fn new((held, used): (u64, u64), ceiling: u64) -> Self {
        Self {
            held,
            used,
            ceiling,
            ..Self::default()
        }
    }

    /// Sets how much more it wants, and how much of that it needs at least.
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
    /// Returns a grant, with what all processes have used.
    pub fn new(used: u64, granted: u64) -> Self {
        Self { used, granted }
    }
}

// === impl ExchangeResponse ===

impl ExchangeResponse {
    /// Returns a response without content, in this epoch.
    pub fn new(epoch: u64) -> Self {
        Self {
            epoch,
            newest_fact: 0,
            replicas: Vec::new(),
            is_learning: false,
            limits: Vec::new(),
        }
    }
}

// === impl LimitResponse ===

impl LimitResponse {
    /// Returns the part about a limit without grants or facts.
    pub fn new(limit: Id) -> Self {
        Self {
            limit,
            grants: Vec::new(),
            facts: Vec::new(),
        }
    }
}
