//! A provider in the process, in virtual or real time, that keeps a log of what it was asked.

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
use http::{HeaderValue, Request, Response, StatusCode, response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tokio::time::{Instant, sleep_until};
use tower::Service;

use crate::limits::{Limit, Meter, Reading};

/// What the provider says of its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Headers {
    Always,
    OnRejections,
    Never,
    /// A full bucket, whatever is left.
    TooMuchLeft,
    /// Nothing left until the window ends, whatever is left.
    NothingLeft,
    /// Nothing left, and more in a moment, whatever is left.
    NothingForAMoment,
    /// Twenty less than are left.
    TooLittleLeft,
    /// What is left, and a window that is over already.
    PastReset,
}

/// What the provider is like.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// What a key may ask of each model; other models it does not have.
    pub(crate) models: Vec<(&'static str, Limit)>,
    pub(crate) headers: Headers,
    /// Keys that share their limits with another: theirs count as its.
    pub(crate) shared: Vec<(&'static str, &'static str)>,
    pub(crate) rejected: Option<&'static str>,
    pub(crate) out_of_quota: Option<&'static str>,
    /// From when a request is let in until its answer goes out.
    pub(crate) thinks: Duration,
    /// What is left of that time if the last request of the session came with the same key, whose prompt
    /// cache is warm.
    pub(crate) thinks_warm: Duration,
    /// Of a hundred requests, how many are refused whatever the limits say.
    pub(crate) accidents: u32,
}

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
    /// When an account was told to leave a model alone, and until when.
    told: HashMap<(Arc<str>, Arc<str>), (Instant, Instant)>,
    /// The key of each session's last request.
    sessions: HashMap<HeaderValue, Arc<str>>,
    random: fastrand::Rng,
    log: Vec<Entry>,
}

// === impl Plan ===

impl Plan {
    /// Whose limits a key uses.
    fn account(&self, key: &Arc<str>) -> Arc<str> {
        let shared = self.shared.iter().find(|(one, _)| *one == &**key);
        shared.map_or_else(|| key.clone(), |(_, other)| (*other).into())
    }
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
            let account = state.plan.account(&key);
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
        let told = self.told.get(&(self.plan.account(key), model.clone()));
        let early = told.is_some_and(|(told, until)| *told < sent && sent < *until);
        let reading = self.read(key, model, at);
        let (response, wait) = match reading {
            Err(Error(status, code)) => (error(status, code), None),
            Ok(reading) => respond(self.plan.headers, reading),
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
        match last.as_ref() == Some(key) {
            true => self.plan.thinks_warm,
            false => self.plan.thinks,
        }
    }

    fn read(&mut self, key: &Arc<str>, model: &Arc<str>, at: Duration) -> Result<Reading, Error> {
        let plan = &self.plan;
        if plan.rejected == Some(key) {
            return Err(Error(401, "invalid_api_key"));
        }
        if plan.out_of_quota == Some(key) {
            return Err(Error(429, "insufficient_quota"));
        }
        if plan.accidents > 0 && self.random.u32(0..100) < plan.accidents {
            return Err(Error(429, "rate_limit_exceeded"));
        }
        let has = |(name, _): &&(&str, Limit)| *name == &**model;
        let Some((_, limit)) = plan.models.iter().find(has) else {
            return Err(Error(404, "model_not_found"));
        };
        let account = (plan.account(key), model.clone());
        let meter = self
            .meters
            .entry(account)
            .or_insert_with(|| Meter::new(*limit));
        Ok(meter.ask(at))
    }
}

/// A status and OpenAI's code for it.
struct Error(u16, &'static str);

fn error(status: u16, code: &str) -> Response<Full<Bytes>> {
    let body = serde_json::json!({ "error": { "type": code, "code": code, "message": code } });
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert("content-type", json);
    response
}

/// What a reading looks like on the wire, in OpenAI's words, and how long it tells to wait.
fn respond(headers: Headers, reading: Reading) -> (Response<Full<Bytes>>, Option<Duration>) {
    let Err(wait) = reading.admitted else {
        let mut head = Response::builder();
        if !matches!(headers, Headers::OnRejections | Headers::Never) {
            head = with_buckets(head, headers, reading);
        }
        let response = head.body(Full::from("{}")).unwrap_or_default();
        return (response, None);
    };
    let mut response = error(429, "rate_limit_exceeded");
    if headers == Headers::Never {
        return (response, None);
    }
    let millis = wait.as_nanos().div_ceil(1_000_000).to_string();
    if let Ok(value) = HeaderValue::from_str(&millis) {
        response.headers_mut().insert("retry-after-ms", value);
    }
    let told = with_buckets(Response::builder(), headers, reading).body(());
    if let Ok(told) = told {
        response.headers_mut().extend(told.into_parts().0.headers);
    }
    (response, Some(wait))
}

fn with_buckets(head: response::Builder, headers: Headers, reading: Reading) -> response::Builder {
    let (remaining, reset) = match headers {
        Headers::TooMuchLeft => (reading.limit, reading.reset),
        Headers::NothingLeft => (0, reading.reset),
        Headers::NothingForAMoment => (0, Duration::from_millis(300)),
        Headers::TooLittleLeft => (reading.remaining.saturating_sub(20), reading.reset),
        Headers::PastReset => (reading.remaining, Duration::ZERO),
        _ => (reading.remaining, reading.reset),
    };
    let reset = format!("{}ms", reset.as_nanos().div_ceil(1_000_000));
    head.header("x-ratelimit-limit-requests", reading.limit)
        .header("x-ratelimit-remaining-requests", remaining)
        .header("x-ratelimit-reset-requests", reset)
}

/// A rate limit is about time.
#[allow(clippy::disallowed_methods)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
