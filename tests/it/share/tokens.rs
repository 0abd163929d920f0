//! Limits in tokens of several processes.

use futures::future::join_all;
use http::Request;
use tokio::time::{Duration, sleep};
use tower_429::{Call, Cost, share::InMemory};

use super::{explains, near, pools, send};
use crate::script::*;

const TOKENS: &str = "Rate limit reached for m on tokens per min (TPM). Please slow down.";

fn costing(tokens: u64) -> Request<String> {
    let mut request = chat("m");
    request.headers_mut().insert("cost", tokens.into());
    let call = Call::new().cost(Cost::new(tokens, 0));
    request.extensions_mut().insert(call);
    request
}

/// Admits requests of so many tokens, and so many requests, in each window of this length. Successes report what is
/// left. A 429 only has a hint, which ends 100 ms before the window.
fn windows(length: Duration, tokens: u64, requests: u64) -> Provider {
    let mut window = (0, 0, 0);
    Provider::new(move |seen| {
        let now = seen.at.as_secs() / length.as_secs();
        if window.0 != now {
            window = (now, 0, 0);
        }
        let rest = secs((now + 1) * length.as_secs()) - seen.at;
        let cost: u64 = seen.header("cost").parse().unwrap();
        if window.1 + cost > tokens || window.2 == requests {
            let hint = rest.saturating_sub(millis(100)).as_millis().to_string();
            return Answer::Response(429, vec![("retry-after-ms", hint)]);
        }
        (window.1, window.2) = (window.1 + cost, window.2 + 1);
        let reset = format!("{}ms", rest.as_millis());
        let mut headers = vec![
            ("x-ratelimit-limit-tokens", tokens.to_string()),
            (
                "x-ratelimit-remaining-tokens",
                (tokens - window.1).to_string(),
            ),
            ("x-ratelimit-reset-tokens", reset.clone()),
        ];
        if requests != u64::MAX {
            headers.extend([
                ("x-ratelimit-limit-requests", requests.to_string()),
                (
                    "x-ratelimit-remaining-requests",
                    (requests - window.2).to_string(),
                ),
                ("x-ratelimit-reset-requests", reset),
            ]);
        }
        Answer::Response(200, headers)
    })
}

#[tokio::test(start_paused = true)]
async fn rejection_of_unknown_cost_leaves_a_window_of_tokens_leased() {
    let provider = windows(secs(10), 1_000, u64::MAX);
    let (_processes, pools) = pools(&near(), &["a"], 2).await;
    let knows = explains(&pools[0], &provider, (TOKENS, secs(300)));
    let rejected = explains(&pools[1], &provider, (TOKENS, secs(1)));
    assert_eq!(send(&knows, costing(100)).await, 200);
    sleep(millis(1_100)).await;
    // It has ended before the other process receives that it was sent.
    assert_eq!(send(&rejected, costing(950)).await, 429);
    sleep(millis(1_100)).await;
    let all = (0..30).map(|_| send(&knows, costing(100)));
    let answers = join_all(all).await;
    assert_eq!(answers, [200; 30]);
    let rejected = provider.seen().len() - 31;
    assert!(rejected <= 3, "{rejected} were rejected");
}

#[tokio::test(start_paused = true)]
async fn processes_that_need_requests_and_tokens_all_finish() {
    for delay in [1, 10, 20] {
        let provider = windows(secs(600), 4_010, 41);
        let engine = InMemory::new().delay(millis(delay));
        let (_processes, pools) = pools(&engine, &["a"], 4).await;
        let services: Vec<_> = pools
            .iter()
            .map(|pool| explains(pool, &provider, (TOKENS, secs(3_600))))
            .collect();
        assert_eq!(send(&services[0], costing(10)).await, 200);
        sleep(millis(1_100)).await;
        // The calls need all requests and all tokens that are left.
        let all = services.iter().flat_map(|service| {
            let costs = [190, 10].into_iter().cycle().take(10);
            costs.map(move |cost| send(service, costing(cost)))
        });
        assert_eq!(join_all(all).await, [200; 40]);
        assert!(provider.seen().iter().all(|it| it.at < secs(10)));
    }
}
