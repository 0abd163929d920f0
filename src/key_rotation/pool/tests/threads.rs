//! The pool's handle in several threads, in the orders that shuttle tries. No waiter has a timer here, so a waiter that
//! is not woken waits forever, and shuttle reports a deadlock.

use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};

use shuttle::{
    future::block_on,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use crate::{
    clock,
    key_rotation::{
        Key, KeyPool, PoolError,
        pool::{KeyRequest, Keys, Lease},
    },
    quota::{QueuePlace, Waiter},
    rejection::{Bucket, Dimension, Reason, Rejection},
};

const ORDERS: usize = 2_000;

/// Runs with a paused clock, so that no key is freed by time.
fn in_every_order(test: impl Fn() + Send + Sync + 'static) {
    let paused = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let _clock = paused.enter();
    shuttle::check_random(test, ORDERS);
}

/// Returns a pool of one key. The provider has reported this remainder.
fn one_key(left: u64) -> KeyPool {
    let pool = KeyPool::new(["a"]).expect("a pool");
    let lease = take(&pool).expect("a key");
    let report = Bucket {
        dimension: Dimension::Requests,
        window: None,
        scope: None,
        limit: Some(100),
        remaining: Some(left),
        reset: Some(Duration::from_secs(3_600)),
        cost: None,
    };
    let now = clock::now();
    lease.complete(now, |inner, it| {
        inner.candidates.succeeded(it, &[report], (it.sent, now))
    });
    pool
}

fn take(pool: &KeyPool) -> Option<Lease> {
    pool.acquire_in_turn(&KeyRequest::default(), clock::now())
        .ok()
}

/// Waits for a key; `None` if no key is free for a long while.
async fn served(mut waiter: Waiter<Keys>, max_wait: Duration) -> Option<Lease> {
    poll_fn(|cx| match waiter.poll_acquire(cx, clock::now()) {
        Ok((lease, _)) => Poll::Ready(Some(lease)),
        Err(forecast) if forecast.prospect.is_before(clock::now() + max_wait) => Poll::Pending,
        Err(_) => Poll::Ready(None),
    })
    .await
}

const PATIENT: Duration = Duration::from_secs(86_400);

/// Takes a key like a call that may wait.
fn call(pool: &KeyPool) -> Lease {
    take(pool).unwrap_or_else(|| {
        let waiter = enqueue(pool);
        block_on(served(waiter, PATIENT)).expect("a key")
    })
}

/// Joins the threads. The argument is a `Vec`, because a lazy iterator would start each thread only after joining the
/// last.
fn all(threads: Vec<thread::JoinHandle<()>>) {
    for thread in threads {
        thread.join().expect("no panic");
    }
}

fn assert_nothing_is_out(pool: &KeyPool) {
    let keys = pool.snapshot();
    assert!(keys.iter().all(|key| key.in_flight == 0), "{keys:?}");
    pool.0.scheduler.with(|inner| {
        assert_eq!(inner.candidates.limits.out().max(), Some(0));
        assert!(inner.is_clean(), "a waiter or a reservation remains");
    });
}

#[test]
fn every_call_gets_a_key_and_no_more_are_out_than_are_left() {
    in_every_order(|| {
        let (pool, out) = (one_key(2), Arc::new(AtomicUsize::new(0)));
        let calls = (0..4).map(|_| {
            let (pool, out) = (pool.clone(), out.clone());
            thread::spawn(move || {
                let lease = call(&pool);
                assert!(out.fetch_add(1, Ordering::SeqCst) < 2);
                thread::yield_now();
                out.fetch_sub(1, Ordering::SeqCst);
                drop(lease);
            })
        });
        all(calls.collect());
        assert_nothing_is_out(&pool);
    });
}

#[test]
fn dropped_waiter_leaves_its_place_and_its_key_to_others() {
    in_every_order(|| {
        let pool = one_key(1);
        let lease = take(&pool).expect("a key");
        // The waiter is queued, granted or served when it is dropped, depending on the order.
        let gone = pool.clone();
        let gone = thread::spawn(move || {
            let mut waiter = enqueue(&gone);
            let once = poll_fn(|cx| Poll::Ready(waiter.poll_acquire(cx, clock::now())));
            drop(block_on(once));
            thread::yield_now();
            drop(waiter);
        });
        let stays = pool.clone();
        let stays = thread::spawn(move || drop(call(&stays)));
        drop(lease);
        all(vec![gone, stays]);
        assert_nothing_is_out(&pool);
    });
}

fn enqueue(pool: &KeyPool) -> Waiter<Keys> {
    pool.enqueue(&KeyRequest::default(), QueuePlace::New, clock::now())
}

#[test]
fn added_or_replaced_key_serves_a_waiter() {
    type Change = fn(&KeyPool) -> Result<(), PoolError>;
    let changes: [Change; 2] = [
        |pool| pool.add(Key::new("b")),
        |pool| pool.replace("key-1", "b"),
    ];
    for change in changes {
        in_every_order(move || {
            let pool = one_key(1);
            let lease = take(&pool).expect("a key");
            let waits = pool.clone();
            let waits = thread::spawn(move || drop(call(&waits)));
            let changes = pool.clone();
            let changes = thread::spawn(move || change(&changes).expect("changed"));
            all(vec![waits, changes]);
            drop(lease);
            assert_nothing_is_out(&pool);
        });
    }
}

#[test]
fn replaced_or_removed_key_leaves_no_call_waiting() {
    in_every_order(|| {
        let pool = one_key(1);
        pool.add(Key::new("b").label("b")).expect("added");
        let lease = take(&pool).expect("a key");
        let calls = (0..3).map(|_| {
            let pool = pool.clone();
            thread::spawn(move || drop(call(&pool)))
        });
        let calls = calls.collect::<Vec<_>>();
        let changes = pool.clone();
        let changes = thread::spawn(move || {
            changes.replace("key-1", "c").expect("replaced");
            changes.remove("b").expect("removed");
        });
        all(calls);
        all(vec![changes]);
        drop(lease);
        assert_nothing_is_out(&pool);
    });
}

#[test]
fn rejection_that_makes_the_wait_too_long_wakes_all_waiters() {
    in_every_order(|| {
        let pool = one_key(1);
        let lease = take(&pool).expect("a key");
        let waits = (0..3).map(|_| {
            let pool = pool.clone();
            thread::spawn(move || {
                let waiter = enqueue(&pool);
                // The rejection lasts longer than the waiter may wait.
                let lease = block_on(served(waiter, Duration::from_secs(4_000)));
                assert!(lease.is_none(), "no waiter may be served");
            })
        });
        let waits = waits.collect::<Vec<_>>();
        let rejection = Rejection {
            retry_after: Some(Duration::from_secs(40_000)),
            ..Rejection::new(Reason::RateLimited)
        };
        let now = clock::now();
        lease.complete(now, |inner, it| {
            let when = (it.sent, now);
            inner.candidates.rejected(it, &rejection, &[], when);
        });
        all(waits);
        assert_nothing_is_out(&pool);
    });
}
