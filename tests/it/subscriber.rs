//! Subscribers that see one thread, beside tests that have none.

use std::sync::Once;

use tracing::{
    Subscriber,
    subscriber::{DefaultGuard, NoSubscriber, set_default, set_global_default},
};

/// Makes `subscriber` the default of this thread until the guard is dropped.
///
/// While a process has one subscriber, `tracing` asks the thread that reaches a callsite first, and a
/// thread without a subscriber switches the callsite off for all. A global one makes them two.
pub(crate) fn subscribe(subscriber: impl Subscriber + Send + Sync + 'static) -> DefaultGuard {
    static GLOBAL: Once = Once::new();
    GLOBAL.call_once(|| set_global_default(NoSubscriber::new()).expect("the first"));
    set_default(subscriber)
}
