//! Subscribers for one thread, beside tests without a subscriber.

use std::sync::Once;

use tracing::{
    Subscriber,
    subscriber::{DefaultGuard, NoSubscriber, set_default, set_global_default},
};

/// Makes `subscriber` the default of this thread until the guard is dropped.
///
/// If a process has only one subscriber, `tracing` lets the thread that reaches a callsite first decide. A thread
/// without a subscriber would then disable the callsite for all threads. A second, global subscriber prevents that.
pub(crate) fn subscribe(subscriber: impl Subscriber + Send + Sync + 'static) -> DefaultGuard {
    static GLOBAL: Once = Once::new();
    GLOBAL.call_once(|| set_global_default(NoSubscriber::new()).expect("the first"));
    set_default(subscriber)
}
