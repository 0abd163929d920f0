//! A provider in this process, in virtual or real time, that logs its requests.

mod answer;
mod body;
pub(crate) mod limits;
pub(crate) mod meters;
pub(crate) mod plan;
mod report;
mod slot;

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
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep_until};
use tower::Service;
use tower_429::Cost;

use self::{
    answer::{Answer, Failure},
    body::AnswerBody,
    meters::{Judged, Meters},
    plan::Plan,
    slot::{InUse, Slot},
};
use crate::work::Work;

/// One request and the status of its response.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// When the request arrived, since the start.
    pub(crate) at: Duration,
    pub(crate) key: Arc<str>,
    pub(crate) model: Arc<str>,
    pub(crate) status: StatusCode,
    /// Whether it was sent before the end of a rate limit's hint.
    pub(crate) early: bool,
    pub(crate) cost: Cost,
    pub(crate) is_background: bool,
}

/// A request that has arrived.
struct Received {
    key: Arc<str>,
    model: Arc<str>,
    sent: Instant,
    /// What it requests, if its headers contain that.
    work: Option<Work>,
}

/// The decision about a request.
struct Decided {
    response: Answer,
    /// The hint of a rejection.
    wait: Option<Duration>,
    /// The slot of the request, if the provider limits requests in flight.
    slot: Option<Slot>,
}

/// The shortest and the longest time to the provider, and back, in milliseconds.
const WAY: [u64; 2] = [20, 30];

/// The mean time to the provider and back.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(50);

#[derive(Clone)]
pub(crate) struct Provider(Arc<Mutex<State>>);

struct State {
    plan: Plan,
    started: Instant,
    meters: HashMap<(Arc<str>, Arc<str>), Meters>,
    in_flight: HashMap<Arc<str>, InUse>,
    /// When an account was rejected for a model, and when the hint ends.
    hinted: HashMap<(Arc<str>, Arc<str>), (Instant, Instant)>,
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
            in_flight: HashMap::new(),
            hinted: HashMap::new(),
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

    pub(crate) async fn answer<B: Body>(self, request: Request<B>) -> Response<AnswerBody> {
        let sent = now();
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes());
        let model = body.ok().and_then(|body| model_of(&body));
        let key = head.headers.get("authorization");
        let key = key.and_then(|key| key.to_str().ok()?.strip_prefix("Bearer "));
        let received = Received {
            key: key.unwrap_or_default().into(),
            model: model.unwrap_or_default(),
            sent,
            work: Work::read(&head.headers),
        };
        let (there, back) = {
            let mut state = self.lock();
            let mut way = || Duration::from_millis(state.random.u64(WAY[0]..=WAY[1]));
            (way(), way())
        };
        sleep_until(sent + there).await;
        let decided = self.lock().judge(&received);
        let session = head.headers.get("session").cloned();
        let is_answer = decided.response.status() == StatusCode::OK;
        let thinks = match is_answer {
            true => self.lock().thinks(session, &received),
            false => Duration::ZERO,
        };
        let complete = sent + there + thinks + back;
        if is_answer && self.lock().plan.streams {
            sleep_until(sent + there + back).await;
            return streamed(decided, complete);
        }
        if let (true, Some(work)) = (is_answer, received.work) {
            self.generate(&received, work, sent + there, thinks).await;
        }
        // The request is not in flight for the provider any more, although the client has no response yet.
        drop(decided.slot);
        sleep_until(complete).await;
        if let Some(wait) = decided.wait {
            let mut state = self.lock();
            let account = state.plan.known_account_of(&received.key);
            let hint = (now(), now() + wait);
            state.hinted.insert((account, received.model), hint);
        }
        decided.response.map(AnswerBody::Whole)
    }

    /// Counts the tokens of a response when they are generated.
    async fn generate(&self, received: &Received, work: Work, begins: Instant, thinks: Duration) {
        let output = u32::try_from(work.cost.output()).unwrap_or(u32::MAX);
        for part in 0..PARTS {
            sleep_until(begins + thinks * (part + 1) / PARTS).await;
            let tokens = output * (part + 1) / PARTS - output * part / PARTS;
            self.lock().count_output(received, tokens);
        }
    }
}

/// Returns the model that a request names. It does not copy the rest of a long body.
fn model_of(body: &[u8]) -> Option<Arc<str>> {
    let body: HashMap<String, &RawValue> = serde_json::from_slice(body).ok()?;
    let model: String = serde_json::from_str(body.get("model")?.get()).ok()?;
    Some(model.into())
}

/// Returns the head of a response at once. The body ends when the response is complete.
fn streamed(decided: Decided, complete: Instant) -> Response<AnswerBody> {
    let body = AnswerBody::streamed(complete, decided.slot);
    let mut response = decided.response.map(|_| body);
    let stream = HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert("content-type", stream);
    response
}

/// The number of parts in which the tokens of a response are counted.
const PARTS: u32 = 4;

impl Service<Request<Full<Bytes>>> for Provider {
    type Response = Response<AnswerBody>;
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
    /// Decides about a request that has arrived, and logs it.
    fn judge(&mut self, received: &Received) -> Decided {
        let at = now() - self.started;
        let Received { key, model, .. } = received;
        let account = (self.plan.known_account_of(key), model.clone());
        let hint = self.hinted.get(&account);
        let early =
            hint.is_some_and(|(came, until)| *came < received.sent && received.sent < *until);
        let decided = self.decide(received, at);
        let work = received.work.unwrap_or_default();
        self.log.push(Entry {
            at,
            key: key.clone(),
            model: model.clone(),
            status: decided.response.status(),
            early,
            cost: work.cost,
            is_background: work.is_background,
        });
        decided
    }

    fn decide(&mut self, received: &Received, at: Duration) -> Decided {
        let mut slot = None;
        if let Some(limit) = self.plan.in_flight {
            let account = self.plan.account_of(&received.key);
            slot = Slot::take(self.in_flight.entry(account).or_default(), limit.at_once);
            if slot.is_none() {
                // There is no hint to obey, because capacity becomes free when a request ends.
                return Decided {
                    response: answer::too_many_at_once(limit),
                    wait: None,
                    slot,
                };
            }
        }
        let (response, wait) = match self.read(received, at) {
            Err(failure) => (answer::failure(failure), None),
            Ok(judged) => answer::counted(&self.plan, at, &judged),
        };
        Decided {
            response,
            wait,
            slot,
        }
    }

    fn count_output(&mut self, received: &Received, tokens: u32) {
        let at = now() - self.started;
        let account = (self.plan.account_of(&received.key), received.model.clone());
        if let Some(meters) = self.meters.get_mut(&account) {
            meters.count_output(at, tokens);
        }
    }

    /// Returns how long the provider generates the response. It is shorter if the key has the session's prompt cached.
    fn thinks(&mut self, session: Option<HeaderValue>, received: &Received) -> Duration {
        if let Some(work) = received.work {
            return work.answer;
        }
        let key = &received.key;
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

    fn read(&mut self, received: &Received, at: Duration) -> Result<Judged, Failure> {
        let Received { key, model, .. } = received;
        let plan = &self.plan;
        let is_revoked = |(revoked, since)| revoked == &**key && at >= since;
        if plan.rejected == Some(&**key) || plan.revoked.is_some_and(is_revoked) {
            return Err(Failure::Code(401, "invalid_api_key"));
        }
        if plan.out_of_quota == Some(&**key) {
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
        let Some(limits) = plan.limits(key, model) else {
            return Err(Failure::Code(404, "model_not_found"));
        };
        let account = (plan.account_of(key), model.clone());
        let meters = self.meters.entry(account);
        let meters = meters.or_insert_with(|| Meters::new(&limits));
        let cost = received.work.map_or_else(Cost::default, |work| work.cost);
        Ok(meters.judge(at, cost))
    }
}

/// The limits and the log need the time.
#[allow(clippy::disallowed_methods)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
