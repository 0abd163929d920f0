//! How every layer sends, whatever it decides.

use crate::call::Limits;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) replay_limit: u64,
    pub(crate) limits: Limits,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            replay_limit: 2 * 1024 * 1024,
            limits: Limits::default(),
        }
    }
}

/// The setters that each layer has; the argument is the path to its [`Settings`].
macro_rules! setters {
    ($($settings:ident).+) => {
        /// The time from the start of a call after which the whole stack sends nothing again.
        ///
        /// Over several layers the shortest holds; a request may say otherwise, see
        /// [`Call::deadline`](crate::Call::deadline), which also says what a deadline does not cut off.
        #[must_use]
        pub fn deadline(mut self, deadline: std::time::Duration) -> Self {
            self.$($settings).+.limits.deadline = Some(deadline);
            self
        }

        /// The most sends that the whole stack may make for one call; 0 means 1.
        ///
        /// Over several layers the least holds; a request may say otherwise, see
        /// [`Call::max_sends`](crate::Call::max_sends).
        #[must_use]
        pub fn max_sends(mut self, max_sends: u32) -> Self {
            self.$($settings).+.limits.max_sends = Some(max_sends);
            self
        }

        /// The largest body that is kept to be sent again, in bytes; 2 MiB unless set.
        ///
        /// A larger one is sent once, also if it is in memory already. Over several layers the
        /// outermost's holds, for they share one recording.
        #[must_use]
        pub fn replay_limit(mut self, bytes: u64) -> Self {
            self.$($settings).+.replay_limit = bytes;
            self
        }
    };
}
pub(crate) use setters;
