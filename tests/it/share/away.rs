//! The engine is away, comes back empty, or was never there.

use futures::future::join_all;
use tokio::time::{Instant, sleep};
use tower_429::share::{InMemory, Name, share};

use super::{Process, near, pools};
use crate::{
    scheduling::{call, calls, left, waits, windows},
    script::*,
};

#[tokio::test(start_paused = true)]
async fn engine_that_is_away_delays_no_call() {
    let engine = near();
    engine.set_down(true);
    let process = Process::start_without_wait(&engine);
    let provider = windows(100);
    let service = waits(&process.pool(&["a"]), &provider, secs(60));
    let at = Instant::now();
    assert_eq!(call(&service, chat("m")).await.status(), 200);
    assert_eq!(at.elapsed(), secs(0));
    process.sharing.ready().await;
    let at = Instant::now();
    assert_eq!(calls(&service, 20).await, [200; 20]);
    assert!(at.elapsed() < millis(30), "{:?}", at.elapsed());
}

#[tokio::test(start_paused = true)]
async fn each_process_takes_its_part_while_the_engine_is_away() {
    let engine = near();
    let (_processes, pools) = pools(&engine, &["a", "b"], 4).await;
    let mut first = true;
    let provider = Provider::new(move |_| match std::mem::take(&mut first) {
        true => Answer::Response(200, left(10, 8, secs(600))),
        false => Answer::Late(secs(5), 200),
    });
    let service = waits(&pools[0], &provider, secs(60));
    call(&service, chat("m")).await;
    engine.set_down(true);
    sleep(secs(1)).await;
    // Four processes were live last: two of the eight are this one's.
    assert_eq!(calls(&service, 4).await, [200; 4]);
    assert_eq!(provider.keys(), ["a", "a", "a", "b", "b"]);
}

#[tokio::test(start_paused = true)]
async fn call_that_waits_for_a_lease_goes_on_when_the_engine_goes_away() {
    let engine = near();
    let (_processes, pools) = pools(&engine, &["a"], 2).await;
    let provider = windows(100);
    let services = pools.iter().map(|pool| waits(pool, &provider, secs(60)));
    let services: Vec<_> = services.collect();
    call(&services[0], chat("m")).await;
    engine.set_down(true);
    let at = Instant::now();
    let answers = join_all(services.iter().map(|service| calls(service, 10))).await;
    assert!(answers.iter().flatten().all(|status| *status == 200));
    // An exchange that takes 100 ms has failed.
    assert!(at.elapsed() < millis(200), "{:?}", at.elapsed());
}

#[tokio::test(start_paused = true)]
async fn engine_that_comes_back_empty_does_not_grant_what_is_held() {
    let engine = near();
    let provider = windows(20);
    let (_processes, pools) = pools(&engine, &["a"], 4).await;
    let services = pools.iter().map(|pool| waits(pool, &provider, secs(120)));
    let services: Vec<_> = services.collect();
    let work = join_all(services.iter().map(|service| calls(service, 15)));
    let lose = async {
        for _ in 0..5 {
            sleep(secs(3)).await;
            engine.forget();
        }
    };
    let (answers, ()) = futures::future::join(work, lose).await;
    assert!(answers.iter().flatten().all(|status| *status == 200));
    let rejected = provider.seen().len() - 60;
    // While it learns, each process takes its part.
    assert!(rejected <= 8, "{rejected}");
}

#[tokio::test(start_paused = true)]
async fn process_without_a_driver_is_alone() {
    let (sharing, driver) = share(InMemory::new(), Name::new("test"));
    drop(driver);
    let pool = tower_429::KeyPool::builder(["a"]).for_origin("https://api.example");
    let pool = pool.shared(sharing).build().unwrap();
    let provider = windows(10);
    let service = waits(&pool, &provider, secs(60));
    let at = Instant::now();
    assert_eq!(calls(&service, 10).await, [200; 10]);
    assert!(at.elapsed() < secs(1), "{:?}", at.elapsed());
}
