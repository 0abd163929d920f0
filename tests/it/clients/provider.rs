//! A provider on loopback that limits keys and models, and checks every attempt strictly.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header, request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use mock_provider::Server;

/// The keys of every test. The first has no quota left for any model.
pub(crate) const KEYS: [&str; 2] = ["used-up", "good"];

/// The models of every test, of different lengths. The first has no quota left for any key.
pub(crate) const MODELS: [&str; 2] = ["large", "the-small-one"];

/// How the caller indicates the length of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// The caller sets `content-length`.
    Declared,
    /// The body knows its length, and the client sets `content-length`.
    Known,
    Chunked,
}

#[derive(Clone)]
pub(crate) struct Provider {
    pub(crate) uri: String,
    shared: Arc<Shared>,
}

struct Shared {
    framing: Framing,
    log: Mutex<Log>,
}

#[derive(Clone, Default)]
pub(crate) struct Log {
    /// The key and the model of each attempt.
    pub(crate) seen: Vec<(String, String)>,
    /// What was wrong with the attempts.
    pub(crate) violations: Vec<String>,
}

/// Returns the body that a request for `model` must have. Only the model may differ.
pub(crate) fn body_for(model: &str) -> String {
    let text = "Say \\u00e9\\n".repeat(4_000);
    format!(
        "{{\"temperature\": 0.70, \"messages\": [{{\"model\": \"none\", \"text\": \"{text}\"}}],\r\n  \
         \"model\" : \"{model}\", \"seed\": 12345678901234567890123}}"
    )
}

impl Provider {
    pub(crate) async fn start(framing: Framing) -> Self {
        let shared = Arc::new(Shared {
            framing,
            log: Mutex::default(),
        });
        let answering = shared.clone();
        let server = Server::http1(move |request| answer(answering.clone(), request));
        let uri = format!("{}/v1/chat", server.await.unwrap().origin());
        Self { uri, shared }
    }

    pub(crate) fn log(&self) -> Log {
        self.shared.log.lock().unwrap().clone()
    }

    /// Returns a request for the first model, with a credential that the layers must replace.
    pub(crate) fn request<B>(&self, body: B) -> Request<B> {
        let mut request = Request::post(&self.uri)
            .header("authorization", "Bearer of-the-caller")
            .header("content-type", "application/json")
            .body(body)
            .unwrap();
        if self.shared.framing == Framing::Declared {
            let length = body_for(MODELS[0]).len();
            let headers = request.headers_mut();
            headers.insert(header::CONTENT_LENGTH, length.into());
        }
        request
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes());
    let mut log = shared.log.lock().unwrap();
    let body = body.unwrap_or_else(|error| {
        log.violations.push(format!("the body broke off: {error}"));
        Bytes::new()
    });
    let key = key_of(&head).unwrap_or_else(|violation| {
        log.violations.push(violation);
        String::new()
    });
    let model = model_of(&body).unwrap_or_else(|violation| {
        log.violations.push(violation);
        String::new()
    });
    let framing = check_framing(
        &head.headers,
        body.len(),
        shared.framing,
        log.seen.is_empty(),
    );
    log.violations.extend(framing.err());

    let pair = (key, model);
    // The good key with the good model is rejected once, so that the layers have to wait too.
    let hint = match pair.0 == KEYS[1] {
        false => Some("40"),
        true if pair.1 != MODELS[1] || !log.seen.contains(&pair) => Some("10"),
        true => None,
    };
    log.seen.push(pair);
    let response = match hint {
        Some(hint) => Response::builder()
            .status(429)
            .header("retry-after-ms", hint),
        None => Response::builder(),
    };
    response.body(Full::from("the answer")).unwrap()
}

/// Returns the key of a request, which must have exactly one.
fn key_of(head: &request::Parts) -> Result<String, String> {
    let values: Vec<_> = head.headers.get_all(header::AUTHORIZATION).iter().collect();
    let key = match values.as_slice() {
        [one] => one
            .to_str()
            .ok()
            .and_then(|value| value.strip_prefix("Bearer ")),
        _ => None,
    };
    key.filter(|key| KEYS.contains(key))
        .map(Into::into)
        .ok_or_else(|| format!("not exactly one known key: {values:?}"))
}

/// Returns the model of a body, which must be complete and correct.
fn model_of(body: &[u8]) -> Result<String, String> {
    let right = |model: &&&str| body_for(model).as_bytes() == body;
    let model = MODELS.iter().find(right).map(|model| (*model).into());
    model.ok_or_else(|| format!("a wrong body of {} bytes", body.len()))
}

/// Checks how the body was framed. A length must be correct. Only the body of a caller that streams may be chunked, and
/// on the first attempt it must be.
fn check_framing(
    headers: &HeaderMap,
    length: usize,
    of_caller: Framing,
    is_first: bool,
) -> Result<(), String> {
    let all = |name| headers.get_all(name).iter().collect::<Vec<_>>();
    let (lengths, codings) = (all(header::CONTENT_LENGTH), all(header::TRANSFER_ENCODING));
    let length = length.to_string();
    let is_chunked = lengths.is_empty() && codings == ["chunked"];
    let has_length = lengths == [length.as_str()] && codings.is_empty();
    let right = match of_caller {
        Framing::Chunked if is_first => is_chunked,
        // A body that has ended meanwhile, or that replaces the caller's body, has a length.
        Framing::Chunked => is_chunked || has_length,
        Framing::Known | Framing::Declared => has_length,
    };
    let hosts = all(header::HOST);
    match right && hosts.len() == 1 {
        true => Ok(()),
        false => Err(format!(
            "{length} bytes framed by {lengths:?} {codings:?}, for {hosts:?}"
        )),
    }
}
