//! What an engine does with an exchange, as the one in memory shows it.

use tower_429::share::{
    Engine, ExchangeRequest, ExchangeResponse, Grant, HOLDS_FOR, Id, InMemory, LEARNS_FOR,
    LeaseRequest, LimitRequest, Unit,
};

use crate::script::*;

const LIMIT: Id = Id::from_bytes([7; 16]);

/// A process that leases places for requests.
struct Process {
    engine: InMemory,
    replica: Id,
    number: u64,
    epoch: Option<u64>,
}

impl Process {
    fn new(engine: &InMemory, replica: u8) -> Self {
        Self {
            engine: engine.clone(),
            replica: Id::from_bytes([replica; 16]),
            number: 0,
            epoch: None,
        }
    }

    async fn exchange(&mut self, lease: LeaseRequest) -> ExchangeResponse {
        let mut request = ExchangeRequest::new(self.replica, self.number);
        request.epoch = self.epoch;
        request.limits = vec![LimitRequest::new(
            LIMIT,
            None,
            vec![(Unit::Requests, lease)],
        )];
        let response = self.engine.exchange(request).await.unwrap();
        self.epoch = Some(response.epoch);
        response
    }

    /// What is granted if the process holds and has used so many, and wants so many.
    async fn lease(&mut self, (held, used): (u64, u64), wanted: u64, least: u64) -> u64 {
        self.number += 1;
        granted(
            &self
                .exchange(LeaseRequest::new((held, used), 10).want(wanted, least))
                .await,
        )
    }
}

fn granted(response: &ExchangeResponse) -> u64 {
    let grants = response.limits.iter().flat_map(|limit| &limit.grants);
    grants.map(|(_, grant)| grant.granted).sum()
}

#[tokio::test(start_paused = true)]
async fn no_more_is_granted_than_the_ceiling_less_what_is_held_and_used() {
    let engine = InMemory::new();
    let [mut one, mut other] = [1, 2].map(|replica| Process::new(&engine, replica));
    assert_eq!(one.lease((0, 0), 0, 0).await, 0);
    assert_eq!(other.lease((0, 0), 0, 0).await, 0);
    // A fair part of ten for each of two.
    assert_eq!(one.lease((0, 0), 8, 1).await, 5);
    assert_eq!(other.lease((0, 0), 8, 1).await, 3);
    // Two of five were used.
    assert_eq!(one.lease((3, 2), 8, 1).await, 1);
    assert_eq!(other.lease((3, 0), 8, 1).await, 1);
    assert_eq!(other.lease((4, 0), 8, 1).await, 0);
}

#[tokio::test(start_paused = true)]
async fn less_than_what_is_of_use_is_not_granted() {
    let engine = InMemory::new();
    let [mut one, mut other] = [1, 2].map(|replica| Process::new(&engine, replica));
    assert_eq!(one.lease((0, 0), 0, 0).await, 0);
    assert_eq!(other.lease((0, 0), 7, 7).await, 7, "more than a fair part");
    assert_eq!(one.lease((0, 0), 4, 4).await, 0);
    assert_eq!(one.lease((0, 0), 4, 3).await, 3);
}

#[tokio::test(start_paused = true)]
async fn exchange_that_comes_late_or_again_changes_nothing() {
    let engine = InMemory::new();
    let mut frozen = Process::new(&engine, 1);
    assert_eq!(frozen.lease((0, 0), 4, 1).await, 4);
    // The same number once more: its answer was lost.
    let again = frozen
        .exchange(LeaseRequest::new((0, 0), 10).want(6, 1))
        .await;
    assert_eq!(granted(&again), 0);
    assert_eq!(frozen.lease((4, 0), 10, 1).await, 6);
    assert_eq!(frozen.lease((10, 0), 10, 1).await, 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_silent_process_holds_is_free_after_two_seconds() {
    let engine = InMemory::new();
    let [mut killed, mut other] = [1, 2].map(|replica| Process::new(&engine, replica));
    assert_eq!(killed.lease((0, 0), 10, 1).await, 10);
    tokio::time::sleep(HOLDS_FOR - millis(1)).await;
    assert_eq!(other.lease((0, 0), 10, 1).await, 0);
    tokio::time::sleep(millis(1)).await;
    assert_eq!(other.lease((0, 0), 10, 10).await, 10);
}

#[tokio::test(start_paused = true)]
async fn engine_that_has_forgotten_first_hears_what_is_held() {
    let engine = InMemory::new();
    let [mut one, mut other] = [1, 2].map(|replica| Process::new(&engine, replica));
    assert_eq!(one.lease((0, 0), 10, 1).await, 10);
    assert_eq!(other.lease((0, 0), 10, 1).await, 0);
    engine.forget();
    assert_eq!(other.lease((0, 0), 10, 1).await, 0, "it learns");
    assert_eq!(one.lease((10, 0), 0, 0).await, 0);
    tokio::time::sleep(LEARNS_FOR).await;
    assert_eq!(other.lease((0, 0), 10, 1).await, 0, "the other holds all");
    one.number += 1;
    let used = one.exchange(LeaseRequest::new((0, 10), 10)).await;
    assert!(!used.is_learning);
    let grant = used.limits.iter().flat_map(|limit| &limit.grants).next();
    assert!(matches!(
        grant,
        Some((Unit::Requests, Grant { granted: 0, .. }))
    ));
}
