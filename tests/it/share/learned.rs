//! What one process has learned of a provider is known to another that has sent nothing.

use tokio::time::sleep;

use super::{near, pools};
use crate::{
    scheduling::{calls, waits, windows},
    script::*,
};

#[tokio::test(start_paused = true)]
async fn process_that_has_sent_nothing_knows_that_nothing_left_was_true() {
    let provider = windows(10);
    let (_processes, pools) = pools(&near(), &["a"], 2).await;
    let [first, second] = [0, 1].map(|index| waits(&pools[index], &provider, secs(300)));
    assert_eq!(calls(&first, 12).await, [200; 12]);
    let before = provider.seen().len();
    sleep(secs(1)).await;
    assert_eq!(calls(&second, 28).await, [200; 28]);
    assert_eq!(provider.seen().len() - before, 28, "none was rejected");
}
