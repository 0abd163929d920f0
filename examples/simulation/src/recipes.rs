//! The stacks of the examples `service` and `batch`, built by the functions of these examples.

use std::error;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower::Service;
use tower_429::{FallbackLayer, KeyPool, KeyRotationLayer, key_rotation::PoolError};

use crate::{
    Error, batch, service,
    stacks::{self, Client, Setup},
};

/// The stack of `service` without a second provider, because the scenario has only one provider, with two models.
pub(crate) fn service<S, R>(setup: Setup, client: S) -> Result<(Client, KeyPool), PoolError>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: error::Error + Send + Sync + 'static,
    R: Body<Data = Bytes> + Send + Unpin + 'static,
    R::Error: Into<Error> + Send,
{
    let pool = setup.pool(None)?;
    let keys = KeyRotationLayer::new(pool.clone());
    let client = service::outbound(keys, FallbackLayer::new(setup.fallback), client);
    Ok((stacks::boxed(client), pool))
}

pub(crate) fn batch<S, R>(setup: Setup, client: S) -> Result<(Client, KeyPool), PoolError>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: error::Error + Send + Sync + 'static,
    R: Body<Data = Bytes> + Send + Unpin + 'static,
    R::Error: Into<Error> + Send,
{
    let pool = batch::key_pool(setup.keys())?;
    let client = batch::outbound(pool.clone(), client);
    Ok((stacks::boxed(client), pool))
}
