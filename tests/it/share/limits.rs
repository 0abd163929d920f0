//! Calls that run on several limits.

use futures::future::join_all;
use http::Request;

use super::{near, pools};
use crate::{
    scheduling::{call, calls, waits, windows},
    script::*,
};

/// A request without a model.
fn without_model() -> Request<String> {
    let request = Request::get("https://api.example/v1/files");
    request.body(String::new()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn calls_under_two_limits_that_are_leased_all_end() {
    // Requests without a model show the limit of the account, and the others show that of the model.
    let provider = windows(8);
    let (_processes, pools) = pools(&near(), &["a"], 2).await;
    let services: Vec<_> = pools
        .iter()
        .map(|pool| waits(pool, &provider, secs(300)))
        .collect();
    let all = services.iter().map(|service| async move {
        let first = call(service, without_model()).await.status().as_u16();
        let mut answers = calls(service, 10).await;
        answers.push(first);
        answers.push(call(service, without_model()).await.status().as_u16());
        answers
    });
    let answers = join_all(all).await.concat();
    assert_eq!(answers, [200; 24]);
    // 24 calls are three windows of ten seconds, and a few requests find out that nothing is left.
    assert!(provider.seen().len() <= 28, "{}", provider.seen().len());
    assert!(provider.seen().iter().all(|it| it.at < secs(41)));
}
