//! The cost of a request by its body: the text of the prompt, and what it reserves for the response. Pure.

use std::fmt;

use bytes::Bytes;
use http::HeaderMap;
use serde_core::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    Cost,
    text::{BYTES_PER_TOKEN, TextLength},
};
use crate::request::model::is_plain_json;

/// What was read of a body.
#[derive(Default)]
struct Tally {
    /// The bytes of the text.
    text: u64,
    /// The most tokens of one response.
    reserve: u64,
    /// The number of responses; `None` for one.
    responses: Option<u64>,
}

/// What a member of an object is.
#[derive(Clone, Copy)]
enum Field {
    /// The most tokens of one response.
    Reserve,
    /// The number of responses.
    Responses,
    /// An object with settings of the response.
    Settings,
    Model,
    Text,
}

/// Where a member is.
#[derive(Clone, Copy)]
enum Place {
    Body,
    Settings,
}

// === impl Cost ===

impl Cost {
    /// Estimates the cost of a request by its body; by its length alone if the body is compressed or not a
    /// JSON object.
    pub(crate) fn estimate(headers: &HeaderMap, body: &Bytes) -> Self {
        let tally = is_plain_json(headers).then(|| Tally::read(body)).flatten();
        tally.map_or_else(|| Self::of_length(body.len() as u64), |tally| tally.cost())
    }
}

// === impl Tally ===

impl Tally {
    /// Returns `None` if the body is not a JSON object, or is nested more than 127 deep, which is the bound of
    /// the parser.
    fn read(body: &[u8]) -> Option<Self> {
        let mut tally = Self::default();
        let mut json = serde_json::Deserializer::from_slice(body);
        json.deserialize_map(TallyMembers(&mut tally, Place::Body))
            .ok()?;
        json.end().ok()?;
        Some(tally)
    }

    fn cost(&self) -> Cost {
        let responses = self.responses.unwrap_or(1).max(1);
        Cost::new(
            self.text.div_ceil(BYTES_PER_TOKEN),
            self.reserve.saturating_mul(responses),
        )
    }

    /// Reads settings of the response, if they are an object. A part that cannot be read is ignored.
    fn read_settings(&mut self, settings: &RawValue) {
        let mut json = serde_json::Deserializer::from_str(settings.get());
        let _ = json.deserialize_map(TallyMembers(self, Place::Settings));
    }
}

/// Reads the members of an object.
struct TallyMembers<'a>(&'a mut Tally, Place);

impl<'de> Visitor<'de> for TallyMembers<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self(tally, place) = self;
        while let Some(field) = map.next_key_seed(place)? {
            match field {
                // Parsers differ in which of two equal keys they use, so the larger number counts.
                Field::Reserve => {
                    let reserve = whole_number(map.next_value()?).unwrap_or(0);
                    tally.reserve = tally.reserve.max(reserve);
                }
                Field::Responses => {
                    let responses = whole_number(map.next_value()?);
                    tally.responses = tally.responses.max(responses);
                }
                Field::Settings => tally.read_settings(map.next_value()?),
                // A fallback target changes it, and the cost stays the same.
                Field::Model => drop(map.next_value::<IgnoredAny>()?),
                Field::Text => map.next_value_seed(TextLength::of_member(&mut tally.text))?,
            }
        }
        Ok(())
    }
}

/// A raw value is read, because the parser fails at numbers out of range, such as 1e400.
fn whole_number(value: &RawValue) -> Option<u64> {
    value.get().parse().ok()
}

// === impl Place ===

impl<'de> DeserializeSeed<'de> for Place {
    type Value = Field;

    fn deserialize<D: Deserializer<'de>>(self, key: D) -> Result<Field, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for Place {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Field, E> {
        Ok(match (self, key) {
            // OpenAI and those that follow it, Anthropic; OpenAI's Chat Completions and Responses.
            (Self::Body, "max_tokens" | "max_completion_tokens" | "max_output_tokens") => {
                Field::Reserve
            }
            (Self::Body, "n") => Field::Responses,
            // Gemini reads both spellings. Bedrock's Converse has `inferenceConfig`.
            (Self::Body, "generationConfig" | "generation_config" | "inferenceConfig") => {
                Field::Settings
            }
            (Self::Body, "model") => Field::Model,
            (Self::Settings, "maxOutputTokens" | "max_output_tokens" | "maxTokens") => {
                Field::Reserve
            }
            (Self::Settings, "candidateCount" | "candidate_count") => Field::Responses,
            _ => Field::Text,
        })
    }
}

#[cfg(test)]
mod tests;
