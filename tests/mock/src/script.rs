//! A provider in the process that responds by a script, and checks that callers follow the contract of `Service`.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, Request, Response, Uri};
use tokio::time::Instant;
use tower_service::Service;

/// An attempt, as the provider saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Duration,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: String,
}

impl Seen {
    /// Returns the header of this name, or an empty string.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("text"))
    }

    /// Returns the key without its `Bearer`.
    pub fn key(&self) -> &str {
        let value = self.header("authorization");
        value.strip_prefix("Bearer ").unwrap_or(value)
    }

    /// Returns the model in the JSON body.
    pub fn model(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).expect("JSON");
        body["model"].as_str().unwrap_or_default().into()
    }
}

/// How the provider responds.
#[derive(Clone, Debug)]
pub enum Answer {
    Response(u16, Vec<(&'static str, String)>),
    /// A response after this time, without headers.
    Late(Duration, u16),
    /// A response after this time, with headers.
    Slow(Duration, u16, Vec<(&'static str, String)>),
    Error(io::ErrorKind),
    Never,
}

pub fn ok() -> Answer {
    status(200)
}

pub fn status(status: u16) -> Answer {
    Answer::Response(status, Vec::new())
}

/// Returns a 429 with a hint in seconds.
pub fn limited(seconds: u64) -> Answer {
    rejected(429, seconds)
}

pub fn rejected(status: u16, seconds: u64) -> Answer {
    Answer::Response(status, vec![("retry-after", seconds.to_string())])
}

type Answers = dyn FnMut(&Seen) -> Answer + Send;

/// A provider that panics if it is called before it is ready. Its clones are not ready.
pub struct Provider {
    shared: Arc<Shared>,
    ready: bool,
}

struct Shared {
    start: Instant,
    seen: Mutex<Vec<Seen>>,
    answers: Mutex<Box<Answers>>,
}

impl Provider {
    /// Returns a provider that responds by what it sees.
    pub fn new(answers: impl FnMut(&Seen) -> Answer + Send + 'static) -> Self {
        Self {
            shared: Arc::new(Shared {
                start: Instant::now(),
                seen: Mutex::default(),
                answers: Mutex::new(Box::new(answers)),
            }),
            ready: false,
        }
    }

    /// Returns a provider that sends these responses in turn, and panics on a further request.
    pub fn script(answers: impl IntoIterator<Item = Answer>) -> Self {
        let mut answers = answers.into_iter().collect::<Vec<_>>().into_iter();
        Self::new(move |_| answers.next().expect("no more attempts than responses"))
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Returns the keys of the requests, in order.
    pub fn keys(&self) -> Vec<String> {
        self.seen().iter().map(|seen| seen.key().into()).collect()
    }

    /// Returns the models of the requests, in order.
    pub fn models(&self) -> Vec<String> {
        self.seen().iter().map(Seen::model).collect()
    }

    /// Returns the times between consecutive attempts.
    pub fn waits(&self) -> Vec<Duration> {
        let seen = self.seen();
        seen.windows(2)
            .map(|pair| pair[1].at - pair[0].at)
            .collect()
    }
}

impl Clone for Provider {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            ready: false,
        }
    }
}

impl Service<Request<String>> for Provider {
    type Response = Response<String>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<String>) -> Self::Future {
        assert!(
            std::mem::take(&mut self.ready),
            "called before it was polled ready"
        );
        let (head, body) = request.into_parts();
        let seen = Seen {
            at: self.shared.start.elapsed(),
            uri: head.uri,
            headers: head.headers,
            body,
        };
        let answer = (self.shared.answers.lock().unwrap())(&seen);
        self.shared.seen.lock().unwrap().push(seen);
        Box::pin(async move {
            let (status, headers) = match answer {
                Answer::Response(status, headers) => (status, headers),
                Answer::Late(after, status) => {
                    tokio::time::sleep(after).await;
                    (status, Vec::new())
                }
                Answer::Slow(after, status, headers) => {
                    tokio::time::sleep(after).await;
                    (status, headers)
                }
                Answer::Error(kind) => return Err(kind.into()),
                Answer::Never => std::future::pending().await,
            };
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            Ok(response
                .body(format!("the provider's own {status}"))
                .unwrap())
        })
    }
}

/// Returns a chat request for a model.
pub fn chat(model: &str) -> Request<String> {
    Request::post("https://api.example/v1/chat/completions")
        .header("content-type", "application/json")
        .body(format!(r#"{{"model": "{model}", "messages": []}}"#))
        .unwrap()
}

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}
