//! The four stacks, and one batch of calls through each.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client as Hyper, Error, connect::HttpConnector},
    rt::TokioExecutor,
};
use indicatif::ProgressBar;
use mock_provider::{Entry, LimitedProvider, Model};
use tokio::time::Instant;
use tower::{ServiceBuilder, ServiceExt, util::BoxCloneService};
use tower_429::{
    BackoffLayer, FallbackLayer, KeyPool, KeyRotationLayer,
    key_rotation::{Key, PoolError},
};

/// Two seconds stand for a minute.
pub(crate) const WINDOW: Duration = Duration::from_secs(2);
pub(crate) const CALLS: usize = 300;
pub(crate) const WORKERS: usize = 24;
pub(crate) const MODELS: [Model; 2] = [
    Model {
        name: "large",
        limit: 40,
        thinks: Duration::from_millis(50),
    },
    Model {
        name: "small",
        limit: 200,
        thinks: Duration::from_millis(25),
    },
];

/// The projects of the keys. Each project has its own limits.
pub(crate) const PROJECTS: [&str; 3] = ["alpha", "beta", "gamma"];

/// What a hint may say before the lesser model is asked instead: a quarter of a "minute".
const PATIENCE: Duration = Duration::from_millis(500);

type Http = Hyper<HttpConnector, Full<Bytes>>;
type Client = BoxCloneService<Request<Full<Bytes>>, Response<Incoming>, Error>;

/// What became of one batch.
pub(crate) struct Run {
    pub(crate) name: &'static str,
    /// How many requests the provider allows its keys and models in a window.
    pub(crate) allowed: usize,
    pub(crate) answered: usize,
    pub(crate) rejected: usize,
    pub(crate) took: Duration,
    /// What the provider counted.
    pub(crate) log: Vec<Entry>,
}

pub(crate) async fn all(bar: &ProgressBar) -> Result<Vec<Run>, crate::Error> {
    let http: Http = Hyper::builder(TokioExecutor::new()).build_http();
    Ok(vec![
        run(("no layer", allowed(1, 1)), no_layer(http.clone()), bar).await?,
        run(("Backoff", allowed(1, 1)), backoff(http.clone()), bar).await?,
        run(
            ("+ KeyRotation", allowed(PROJECTS.len(), 1)),
            key_rotation(http.clone())?,
            bar,
        )
        .await?,
        run(
            ("+ Fallback", allowed(PROJECTS.len(), MODELS.len())),
            fallback(http)?,
            bar,
        )
        .await?,
    ])
}

/// How many requests so many projects may send in a window to the first models.
fn allowed(projects: usize, models: usize) -> usize {
    let limits = MODELS[..models].iter().map(|model| model.limit as usize);
    projects * limits.sum::<usize>()
}

fn no_layer(http: Http) -> Client {
    BoxCloneService::new(http)
}

/// Later; fresh calls overtake those that wait, so a call may have to wait several times.
fn backoff(http: Http) -> Client {
    ServiceBuilder::new()
        .layer(BoxCloneService::layer())
        .layer(BackoffLayer::new().attempts(12))
        .service(http)
}

/// With another key, else later.
fn key_rotation(http: Http) -> Result<Client, PoolError> {
    Ok(ServiceBuilder::new()
        .layer(BoxCloneService::layer())
        .layer(BackoffLayer::new().attempts(12))
        .layer(KeyRotationLayer::new(keys()?))
        .service(http))
}

/// With another key, else a little later, else to another model.
fn fallback(http: Http) -> Result<Client, PoolError> {
    Ok(ServiceBuilder::new()
        .layer(BoxCloneService::layer())
        .layer(FallbackLayer::new(["small"]))
        .layer(BackoffLayer::new().max_wait(PATIENCE))
        .layer(KeyRotationLayer::new(keys()?))
        .service(http))
}

/// A key of each project.
fn keys() -> Result<KeyPool, PoolError> {
    KeyPool::new(PROJECTS.map(|project| {
        Key::new(format!("sk-{project}"))
            .label(project)
            .group(project)
    }))
}

/// Sends the batch through `client` to a provider that has not been asked before.
async fn run(
    (name, allowed): (&'static str, usize),
    client: Client,
    bar: &ProgressBar,
) -> Result<Run, crate::Error> {
    let provider = LimitedProvider::start(&MODELS, WINDOW).await?;
    let start = now();
    bar.set_prefix(name);
    bar.set_message("");
    bar.reset();

    let uri = format!("{}/v1/chat/completions", provider.origin());
    let calls = stream::iter(0..CALLS).map(|_| call(client.clone(), &uri));
    let mut statuses = calls.buffer_unordered(WORKERS);
    let (mut answered, mut rejected) = (0, 0);
    while let Some(status) = statuses.next().await {
        match status? {
            StatusCode::OK => answered += 1,
            StatusCode::TOO_MANY_REQUESTS => rejected += 1,
            status => return Err(format!("{name}: the provider said {status}").into()),
        }
        bar.inc(1);
        bar.set_message(format!("{answered} answered, {rejected} rejected"));
    }
    Ok(Run {
        name,
        allowed,
        answered,
        rejected,
        took: start.elapsed(),
        log: provider.log(),
    })
}

/// One request of the batch, as any program would write it: it knows nothing of the layers.
async fn call(client: Client, uri: &str) -> Result<StatusCode, crate::Error> {
    let request = Request::post(uri)
        .header("content-type", "application/json")
        // Where there is a pool, it puts a key of its own in this one's place.
        .header("authorization", "Bearer sk-alpha")
        .body(Full::from(
            r#"{"model":"large","messages":[{"role":"user","content":"Hello"}]}"#,
        ))?;
    let response = client.oneshot(request).await?;
    let status = response.status();
    response.into_body().collect().await?;
    Ok(status)
}

/// A demonstration of waiting is about time.
#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}
