//! A snapshot distinguishes a cooldown that another process has caused.

use tokio::time::sleep;
use tower_429::KeyPool;

use super::{Process, near, pools};
use crate::{
    scheduling::{call, waits},
    script::*,
};

/// Returns whether each key is on cooldown for every model, or for the model, and whether another process has caused
/// that.
fn cooldowns(pool: &KeyPool) -> Vec<Option<bool>> {
    let keys = pool.snapshot().into_iter();
    keys.map(
        |key| match (key.cooldown_until, key.limited_models.first()) {
            (Some(_), _) => Some(key.cooldown_is_remote),
            (None, Some(limited)) => Some(limited.is_remote),
            (None, None) => None,
        },
    )
    .collect()
}

#[tokio::test(start_paused = true)]
async fn cooldown_that_another_process_has_caused_is_remote() {
    for rejected in [limited(20), status(401)] {
        let (_processes, pools) = pools(&near(), &["a", "b"], 2).await;
        // The limit of a model is shared from its first request on.
        let other = Provider::script([ok()]);
        call(&waits(&pools[1], &other, secs(1)), chat("m")).await;
        let provider = Provider::script([rejected, ok()]);
        let service = waits(&pools[0], &provider, secs(1));
        assert_eq!(call(&service, chat("m")).await.status(), 200);
        sleep(millis(1_100)).await;
        assert_eq!(cooldowns(&pools[0]), [Some(false), None]);
        assert_eq!(cooldowns(&pools[1]), [Some(true), None]);
    }
}

#[tokio::test(start_paused = true)]
async fn process_that_starts_shows_what_others_found_as_remote() {
    let engine = near();
    let (_processes, pools) = pools(&engine, &["a", "b"], 1).await;
    let provider = Provider::script([limited(20), ok()]);
    call(&waits(&pools[0], &provider, secs(1)), chat("m")).await;
    sleep(millis(200)).await;
    let process = Process::start_without_wait(&engine);
    let pool = process.pool(&["a", "b"]);
    process.sharing.ready().await;
    let provider = Provider::script([ok()]);
    call(&waits(&pool, &provider, secs(1)), chat("m")).await;
    sleep(millis(1_100)).await;
    assert_eq!(cooldowns(&pool), [Some(true), None]);
}

#[tokio::test(start_paused = true)]
async fn cooldown_that_is_prolonged_here_is_no_longer_remote() {
    let (_processes, pools) = pools(&near(), &["a", "b"], 2).await;
    let provider = Provider::script([status(401), ok()]);
    call(&waits(&pools[0], &provider, secs(1)), chat("m")).await;
    sleep(millis(1_100)).await;
    // It does not shorten the cooldown of a minute.
    pools[1].cool_down("key-1", secs(5)).unwrap();
    assert_eq!(cooldowns(&pools[1]), [Some(true), None]);
    pools[1].cool_down("key-1", secs(600)).unwrap();
    assert_eq!(cooldowns(&pools[1]), [Some(false), None]);
}
