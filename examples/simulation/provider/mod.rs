//! A provider in the process, in virtual or real time, that keeps a log of its requests.

mod answer;
pub(crate) mod limits;
pub(crate) mod plan;

use std::{
    collections::HashMap,
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tokio::time::{Instant, sleep_until};
use tower::Service;

use self::{
    answer::Failure,
    limits::{Limit, Meter, Reading},
    plan::Plan,
};

/// One answer.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// When the request came, since the start.
    pub(crate) at: Duration,
    pub(crate) key: Arc<str>,
    pub(crate) model: Arc<str>,
    pub(crate) status: StatusCode,
    /// It was sent though an answer had told to wait longer.
    pub(crate) early: bool,
}

/// Half of the time that an answer takes; the rest is the way back.
const WAY: [u64; 2] = [20, 30];

/// The mean time of an answer.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(50);

#[derive(Clone)]
pub(crate) struct Provider(Arc<Mutex<State>>);

struct State {
    plan: Plan,
    started: Instant,
    meters: HashMap<(Arc<str>, Arc<str>), Meter>,
    /// When an account was rejected for a model, and until when.
    told: HashMap<(Arc<str>, Arc<str>), (Instant, Instant)>,
    /// The key of each session's last request.
    sessions: HashMap<HeaderValue, Arc<str>>,
    random: fastrand::Rng,
    log: Vec<Entry>,
}

// === impl Provider ===

impl Provider {
    pub(crate) fn new(plan: Plan, seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            plan,
            started: now(),
            meters: HashMap::new(),
            told: HashMap::new(),
            sessions: HashMap::new(),
            random: fastrand::Rng::with_seed(seed),
            log: Vec::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn log(&self) -> Vec<Entry> {
        self.lock().log.clone()
    }

    pub(crate) async fn answer<B: Body>(self, request: Request<B>) -> Response<Full<Bytes>> {
        let sent = now();
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes());
        let asked = body
            .ok()
            .and_then(|body| serde_json::from_slice::<serde_json::Value>(&body).ok());
        let model: Arc<str> = asked
            .as_ref()
            .and_then(|body| body["model"].as_str())
            .unwrap_or_default()
            .into();
        let key = head.headers.get("authorization");
        let key = key.and_then(|key| key.to_str().ok()?.strip_prefix("Bearer "));
        let key: Arc<str> = key.unwrap_or_default().into();
        let (there, back) = {
            let mut state = self.lock();
            let mut way = || Duration::from_millis(state.random.u64(WAY[0]..=WAY[1]));
            (way(), way())
        };
        sleep_until(sent + there).await;
        let (response, wait) = self.lock().judge(&key, &model, sent);
        let session = head.headers.get("session").cloned();
        let thinks = match response.status() {
            StatusCode::OK => self.lock().thinks(session, &key),
            _ => Duration::ZERO,
        };
        sleep_until(sent + there + thinks + back).await;
        if let Some(wait) = wait {
            let mut state = self.lock();
            let account = state.plan.known_account_of(&key);
            let told = (now(), now() + wait);
            state.told.insert((account, model), told);
        }
        response
    }
}

impl Service<Request<Full<Bytes>>> for Provider {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let answer = self.clone().answer(request);
        Box::pin(async { Ok(answer.await) })
    }
}

// === impl State ===

impl State {
    /// The answer to a request that has just come, and how long it tells to wait.
    fn judge(
        &mut self,
        key: &Arc<str>,
        model: &Arc<str>,
        sent: Instant,
    ) -> (Response<Full<Bytes>>, Option<Duration>) {
        let at = now() - self.started;
        let account = (self.plan.known_account_of(key), model.clone());
        let told = self.told.get(&account);
        let early = told.is_some_and(|(told, until)| *told < sent && sent < *until);
        let (response, wait) = match self.read(key, model, at) {
            Err(failure) => (answer::failure(failure), None),
            Ok((limit, reading)) => answer::counted(&self.plan, limit, reading),
        };
        self.log.push(Entry {
            at,
            key: key.clone(),
            model: model.clone(),
            status: response.status(),
            early,
        });
        (response, wait)
    }

    /// How long the answer takes, which is shorter if the key has the session's prompt in its cache.
    fn thinks(&mut self, session: Option<HeaderValue>, key: &Arc<str>) -> Duration {
        let last = session.and_then(|session| self.sessions.insert(session, key.clone()));
        if let (Some(warm), true) = (self.plan.thinks_warm, last.as_ref() == Some(key)) {
            return warm;
        }
        let (shortest, longest) = self.plan.thinks;
        match shortest == longest {
            true => shortest,
            false => shortest + (longest - shortest).mul_f64(self.random.f64()),
        }
    }

    fn read(
        &mut self,
        key: &Arc<str>,
        model: &Arc<str>,
        at: Duration,
    ) -> Result<(Limit, Reading), Failure> {
        let plan = &self.plan;
        let is_revoked = |(revoked, since)| revoked == &**key && at >= since;
        if plan.rejected == Some(key) || plan.revoked.is_some_and(is_revoked) {
            return Err(Failure::Code(401, "invalid_api_key"));
        }
        if plan.out_of_quota == Some(key) {
            return Err(Failure::Code(429, "insufficient_quota"));
        }
        if plan.is_preferred(model) {
            let outage = plan.outage.as_ref();
            if let Some(outage) = outage.filter(|outage| outage.during.contains(&at)) {
                return Err(Failure::Unavailable(outage.status));
            }
            if let Some(accidents) = plan.accidents {
                if self.random.u32(0..100) < accidents.percent {
                    return Err(Failure::Unavailable(accidents.status));
                }
            }
        }
        let Some(limit) = plan.limit(key, model) else {
            return Err(Failure::Code(404, "model_not_found"));
        };
        let account = (plan.account_of(key), model.clone());
        let meter = self.meters.entry(account);
        let meter = meter.or_insert_with(|| Meter::new(limit));
        Ok((limit, meter.ask(at)))
    }
}

/// A rate limit is about time.
#[allow(clippy::disallowed_methods)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
