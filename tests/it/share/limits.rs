//! Calls that run on several limits, and keys that turn out to share theirs.

use futures::future::join_all;
use http::Request;

use super::{near, pools};
use crate::{
    scheduling::{call, calls, left, waits, windows},
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

/// Admits `limit` requests of one account in each window of ten seconds, and names the account.
fn account(limit: u64) -> Provider {
    let mut window = (0, 0);
    Provider::new(move |seen| {
        let now = seen.at.as_secs() / 10;
        if window.0 != now {
            window = (now, 0);
        }
        let rest = secs((now + 1) * 10) - seen.at;
        let may_go = window.1 < limit;
        window.1 += u64::from(may_go);
        let mut headers = left(limit, limit - window.1, rest);
        headers.push(("openai-organization", "org-1".into()));
        if !may_go {
            headers.push(("retry-after-ms", rest.as_millis().to_string()));
        }
        Answer::Slow(millis(300), if may_go { 200 } else { 429 }, headers)
    })
}

#[tokio::test(start_paused = true)]
async fn keys_found_to_share_an_account_release_what_others_held() {
    let provider = account(12);
    let (_processes, pools) = pools(&near(), &["a", "b"], 2).await;
    let services: Vec<_> = pools
        .iter()
        .map(|pool| waits(pool, &provider, secs(300)))
        .collect();
    // Requests of both processes are in flight when the first response names the account.
    let answers = join_all(services.iter().map(|service| calls(service, 18))).await;
    let answered = answers.iter().flatten().filter(|it| **it == 200).count();
    assert_eq!(answered + rejected_by(&answers), 36);
    // Another 12 pass in the next window: nothing is held by requests that have ended.
    tokio::time::sleep(secs(12)).await;
    let again = join_all(services.iter().map(|service| calls(service, 6))).await;
    assert_eq!(again.concat(), [200; 12]);
    assert!(
        provider.seen().iter().all(|it| it.at < secs(75)),
        "no call waited in vain"
    );
}

/// How many calls got a 429, as KeyRotation alone returns if no key is left to try.
fn rejected_by(answers: &[Vec<u16>]) -> usize {
    answers.iter().flatten().filter(|it| **it == 429).count()
}
