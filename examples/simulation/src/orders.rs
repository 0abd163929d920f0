//! The three layers in each order, with different layers that wait, for a preferred model with little quota and a
//! fallback model with ample quota.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower::{Layer, Service, ServiceExt, util::BoxCloneService};
use tower_429::{
    BackoffLayer, FallbackLayer, InspectLayer, KeyPool, KeyRotationLayer, inspect::InspectedBody,
    key_rotation::PoolError, share::Sharing,
};

use crate::{
    Error,
    stacks::{self, Client, MAX_WAIT, Setup},
};

/// A layer of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Backoff,
    KeyRotation,
    Fallback,
}

/// The layers that wait for capacity, in addition to Backoff, which always waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    Neither,
    /// It would make no difference if Fallback waited too, because KeyRotation returns no call that could wait there.
    Keys,
    Fallback,
    /// Fallback waits, and KeyRotation waits only briefly. A call that gets no key by then goes to the next target.
    Briefly,
}

/// A stack, from outer to inner, with default settings except for the layers that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order(pub(crate) &'static [Part], pub(crate) Waits);

/// The first stack of the README.
pub(crate) const RECOMMENDED: Order = Order(
    &[Part::Backoff, Part::Fallback, Part::KeyRotation],
    Waits::Briefly,
);

/// Returns every order of the three layers, and Fallback over KeyRotation without Backoff.
pub(crate) fn all() -> impl Iterator<Item = Order> {
    use Part::{Backoff, Fallback, KeyRotation};
    const PARTS: [&[Part]; 7] = [
        &[Backoff, Fallback, KeyRotation],
        &[Fallback, KeyRotation],
        &[Fallback, Backoff, KeyRotation],
        &[Fallback, KeyRotation, Backoff],
        &[Backoff, KeyRotation, Fallback],
        &[KeyRotation, Backoff, Fallback],
        &[KeyRotation, Fallback, Backoff],
    ];
    const WAITS: [Waits; 4] = [Waits::Neither, Waits::Keys, Waits::Fallback, Waits::Briefly];
    PARTS
        .into_iter()
        .flat_map(|parts| WAITS.map(|waits| Order(parts, waits)))
}

type Stack<R> = BoxCloneService<Request<Full<Bytes>>, Response<InspectedBody<R>>, Error>;

impl Order {
    /// Builds this stack over a client, with [`InspectLayer`] around the client.
    pub(crate) fn over<S, R>(
        self,
        (setup, sharing): (Setup, Option<Sharing>),
        client: S,
    ) -> Result<(Client, KeyPool), PoolError>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<Error> + Send + 'static,
        R: Body<Data = Bytes> + Send + Unpin + 'static,
        R::Error: Into<Error> + Send,
    {
        let pool = setup.pool(sharing.clone())?;
        let client = InspectLayer::new().layer(client.map_err(Into::into));
        let mut stack: Stack<R> = BoxCloneService::new(client);
        for part in self.0.iter().rev() {
            stack = self.add(*part, (setup, sharing.clone()), &pool, stack);
        }
        if !self.0.contains(&Part::KeyRotation) {
            stack = BoxCloneService::new(stack.map_request(stacks::with_first_key(setup)));
        }
        Ok((stacks::boxed(stack), pool))
    }

    fn add<R>(
        self,
        part: Part,
        (setup, sharing): (Setup, Option<Sharing>),
        pool: &KeyPool,
        inner: Stack<R>,
    ) -> Stack<R>
    where
        R: Body<Data = Bytes> + Send + Unpin + 'static,
        R::Error: Send,
    {
        let keys = KeyRotationLayer::new(pool.clone());
        let mut fallback = FallbackLayer::new(setup.fallback);
        if let Some(sharing) = sharing {
            fallback = fallback.shared(sharing);
        }
        let fallback_waits = !matches!(self.1, Waits::Neither | Waits::Keys);
        match (part, self.1) {
            (Part::Backoff, _) => BoxCloneService::new(BackoffLayer::new().layer(inner)),
            (Part::KeyRotation, Waits::Keys) => {
                BoxCloneService::new(keys.wait_when_exhausted(MAX_WAIT).layer(inner))
            }
            (Part::KeyRotation, Waits::Briefly) => {
                let keys = keys.reject_when_exhausted().wait_when_exhausted(BRIEFLY);
                BoxCloneService::new(keys.layer(inner))
            }
            (Part::KeyRotation, _) => BoxCloneService::new(keys.layer(inner)),
            (Part::Fallback, _) if fallback_waits => {
                BoxCloneService::new(fallback.wait_when_exhausted(MAX_WAIT).layer(inner))
            }
            (Part::Fallback, _) => BoxCloneService::new(fallback.layer(inner)),
        }
    }
}

/// Long enough for the first responses, whose headers report the limits of a key.
const BRIEFLY: Duration = Duration::from_secs(1);

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.0.iter().enumerate() {
            let separator = if index > 0 { " > " } else { "" };
            write!(f, "{separator}{part:?}")?;
            f.write_str(match (part, self.1) {
                (Part::KeyRotation, Waits::Keys) => ".wait",
                (Part::KeyRotation, Waits::Briefly) => ".wait(1 s).respond",
                (Part::Fallback, Waits::Fallback | Waits::Briefly) => ".wait",
                _ => "",
            })?;
        }
        Ok(())
    }
}
