//! The cost of a call, the time of its response, and the request whose headers contain both for the provider.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, request};
use http_body_util::Full;
use serde_json::json;
use tower_429::{Cost, Priority};

/// Draws the work of the call with a number, from random numbers of that call.
pub(crate) type Draw = fn(&mut fastrand::Rng, usize) -> Work;

/// What one call requests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work {
    /// The cost that the provider counts. The layers do not know it.
    pub(crate) cost: Cost,
    /// The bytes of the text. Four are about a token.
    pub(crate) text: usize,
    pub(crate) max_tokens: Option<u64>,
    /// The time from the admission of the request to the end of its response.
    pub(crate) answer: Duration,
    pub(crate) is_embedding: bool,
    pub(crate) is_background: bool,
}

/// Headers that only the provider of this simulation reads.
const INPUT: &str = "x-true-input";
const OUTPUT: &str = "x-true-output";
const ANSWER: &str = "x-answer-ms";
const BACKGROUND: &str = "x-background";

/// The largest relative error of the estimate of four bytes per token.
const MAX_ERROR: f64 = 0.2;

// === impl Work ===

impl Work {
    pub(crate) fn of(draw: Draw, seed: u64, number: usize) -> Self {
        // Each call has its own seed, so that it does not depend on other calls.
        let mut random = fastrand::Rng::with_seed(seed << 32 | number as u64);
        draw(&mut random, number)
    }

    /// Returns work of `total` tokens: a tenth is the prompt, and the rest is reserved for the response.
    pub(crate) fn reserving(random: &mut fastrand::Rng, total: u64) -> Self {
        let input = (total / 10).max(1);
        let output = total - input;
        Self {
            cost: Cost::new(input, output),
            max_tokens: Some(output),
            ..Self::prompt(random, input)
        }
    }

    /// Returns a prompt of `input` tokens that reserves nothing.
    pub(crate) fn prompt(random: &mut fastrand::Rng, input: u64) -> Self {
        let error = 1.0 + MAX_ERROR * (2.0 * random.f64() - 1.0);
        Self {
            cost: Cost::new(input, 0),
            text: (input as f64 * 4.0 * error) as usize,
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

    /// Adds the headers for the provider, and the priority of background work for the layers.
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

    /// Reads the headers that [`mark`](Self::mark) adds.
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

/// Draws a number between two numbers, whose logarithm is distributed evenly.
pub(crate) fn log_uniform(random: &mut fastrand::Rng, (least, most): (f64, f64)) -> f64 {
    least * (most / least).powf(random.f64())
}
