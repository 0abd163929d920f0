//! What a call costs, how long its answer takes, and the request that says so to the provider.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, request};
use http_body_util::Full;
use serde_json::json;
use tower_429::{Cost, Priority};

/// What the call with a number is, drawn from random numbers of its own.
pub(crate) type Draw = fn(&mut fastrand::Rng, usize) -> Work;

/// What one call asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work {
    /// What the provider counts. The crate does not see it.
    pub(crate) cost: Cost,
    /// The bytes of the text. Four are about a token.
    pub(crate) text: usize,
    pub(crate) max_tokens: Option<u64>,
    /// From the admission of the request to the end of its response.
    pub(crate) answer: Duration,
    pub(crate) is_embedding: bool,
    pub(crate) is_background: bool,
}

/// Headers that only the provider of this simulation reads.
const INPUT: &str = "x-true-input";
const OUTPUT: &str = "x-true-output";
const ANSWER: &str = "x-answer-ms";
const BACKGROUND: &str = "x-background";

/// How far the bytes of a text are from four for each token, at most.
const OFF: f64 = 0.2;

// === impl Work ===

impl Work {
    pub(crate) fn of(draw: Draw, seed: u64, number: usize) -> Self {
        // Each call has its own, so that it is the same whatever runs beside it.
        let mut random = fastrand::Rng::with_seed(seed << 32 | number as u64);
        draw(&mut random, number)
    }

    /// A prompt of a tenth of so many tokens, which reserves the rest for its response.
    pub(crate) fn reserving(random: &mut fastrand::Rng, total: u64) -> Self {
        let input = (total / 10).max(1);
        let output = total - input;
        Self {
            cost: Cost::new(input, output),
            max_tokens: Some(output),
            ..Self::prompt(random, input)
        }
    }

    /// A prompt of so many tokens that reserves nothing.
    pub(crate) fn prompt(random: &mut fastrand::Rng, input: u64) -> Self {
        let off = 1.0 + OFF * (2.0 * random.f64() - 1.0);
        Self {
            cost: Cost::new(input, 0),
            text: (input as f64 * 4.0 * off) as usize,
            ..Self::default()
        }
    }

    pub(crate) fn request(&self) -> Option<Request<Full<Bytes>>> {
        let text = "word ".repeat(self.text / 5 + 1);
        let text = text.get(..self.text)?;
        let (path, body) = match self.is_embedding {
            true => ("embeddings", json!({ "model": "large", "input": text })),
            false => {
                let message = json!({ "role": "user", "content": text });
                let mut body = json!({ "model": "large", "messages": [message] });
                if let Some(max_tokens) = self.max_tokens {
                    body["max_tokens"] = max_tokens.into();
                }
                ("chat/completions", body)
            }
        };
        let request = Request::post(format!("https://api.example/v1/{path}"))
            .header("content-type", "application/json");
        let request = self.mark(request);
        request.body(Full::from(body.to_string())).ok()
    }

    /// Marks the request for the provider, and background work for the layers.
    fn mark(&self, request: request::Builder) -> request::Builder {
        let request = request
            .header(INPUT, self.cost.input())
            .header(OUTPUT, self.cost.output())
            .header(ANSWER, self.answer.as_millis() as u64);
        match self.is_background {
            true => request
                .header(BACKGROUND, 1)
                .extension(Priority::Background),
            false => request,
        }
    }

    /// What a request says that [`mark`](Self::mark) has marked.
    pub(crate) fn read(headers: &HeaderMap) -> Option<Self> {
        let number = |name| headers.get(name)?.to_str().ok()?.parse().ok();
        Some(Self {
            cost: Cost::new(number(INPUT)?, number(OUTPUT)?),
            answer: Duration::from_millis(number(ANSWER)?),
            is_background: headers.contains_key(BACKGROUND),
            ..Self::default()
        })
    }
}

/// Draws a number whose logarithm is even between those of two numbers.
pub(crate) fn log_uniform(random: &mut fastrand::Rng, (least, most): (f64, f64)) -> f64 {
    least * (most / least).powf(random.f64())
}
