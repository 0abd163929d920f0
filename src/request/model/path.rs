//! The model in the path, as Gemini, Azure and Bedrock have it.

use std::{ops::Range, sync::Arc};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::LONGEST;

/// What Gemini and Vertex do with a model; other names after a colon are part of the model's own,
/// such as those of OpenAI's fine-tuned ones.
///
/// Source: the methods of `models` and `publishers.models` in Google's references of the Gemini and
/// Vertex AI APIs.
const METHODS: [&str; 11] = [
    "generateContent",
    "streamGenerateContent",
    "countTokens",
    "computeTokens",
    "embedContent",
    "batchEmbedContents",
    "predict",
    "predictLongRunning",
    "rawPredict",
    "streamRawPredict",
    "serverStreamingPredict",
];

/// What Bedrock does with a model.
const OPERATIONS: [&str; 6] = [
    "invoke",
    "invoke-with-response-stream",
    "invoke-with-bidirectional-stream",
    "converse",
    "converse-stream",
    "count-tokens",
];

/// RFC 3986, section 2.3: what need not be encoded. Bedrock's ids may have `:` and `/`.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Where in a path the model stands.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(super) model: Arc<str>,
    path: String,
    value: Range<usize>,
}

// === impl Named ===

impl Named {
    pub(super) fn read(path: &str) -> Option<Self> {
        let value = azure(path)
            .or_else(|| gemini(path))
            .or_else(|| bedrock(path))?;
        let model = percent_decode_str(&path[value.clone()])
            .decode_utf8()
            .ok()?;
        (1..=LONGEST).contains(&model.len()).then(|| Self {
            model: model.into(),
            path: path.into(),
            value,
        })
    }

    /// The path with another model.
    pub(super) fn with(&self, model: &str) -> String {
        let Range { start, end } = self.value;
        let model = utf8_percent_encode(model, SEGMENT);
        format!("{}{model}{}", &self.path[..start], &self.path[end..])
    }
}

/// `/openai/deployments/{deployment}/...`
fn azure(path: &str) -> Option<Range<usize>> {
    const BEFORE: &str = "/openai/deployments/";
    // As `str::find`, which would take longer to get ready than nearly every path takes to be looked at.
    let mut windows = path.as_bytes().windows(BEFORE.len());
    let start = windows.position(|window| window == BEFORE.as_bytes())? + BEFORE.len();
    let length = path[start..].find('/')?;
    Some(start..start + length)
}

// What comes last is looked at first, for it tells most paths apart at little cost.

/// `.../models/{model}:{method}`
fn gemini(path: &str) -> Option<Range<usize>> {
    const BEFORE: &str = "/models/";
    let (before, method) = path.rsplit_once(':')?;
    if !METHODS.contains(&method) {
        return None;
    }
    let start = before.rfind(BEFORE)? + BEFORE.len();
    Some(start..before.len())
}

/// `/model/{id}/{operation}`
fn bedrock(path: &str) -> Option<Range<usize>> {
    const BEFORE: &str = "/model/";
    let (before, operation) = path.rsplit_once('/')?;
    if !OPERATIONS.contains(&operation) {
        return None;
    }
    let start = before.rfind(BEFORE)? + BEFORE.len();
    (!before[start..].contains('/')).then_some(start..before.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_changed_where_each_provider_has_it() {
        let table = [
            (
                "/v1beta/models/gemini-2.5-pro:streamGenerateContent",
                "gemini-2.5-pro",
                "/v1beta/models/n%2Fw:streamGenerateContent",
            ),
            (
                "/v1/projects/p/locations/l/publishers/google/models/g:predict",
                "g",
                "/v1/projects/p/locations/l/publishers/google/models/n%2Fw:predict",
            ),
            (
                "/openai/deployments/gpt-4o/chat/completions",
                "gpt-4o",
                "/openai/deployments/n%2Fw/chat/completions",
            ),
            (
                "/model/anthropic.claude-v2%3A1/converse-stream",
                "anthropic.claude-v2:1",
                "/model/n%2Fw/converse-stream",
            ),
            (
                "/model/us.nova:0/invoke",
                "us.nova:0",
                "/model/n%2Fw/invoke",
            ),
        ];
        for (path, model, changed) in table {
            let named = Named::read(path).expect(path);
            assert_eq!(
                (&*named.model, named.with("n/w").as_str()),
                (model, changed)
            );
        }
    }

    #[test]
    fn other_paths_name_no_model() {
        let long = format!("/model/{}/invoke", "m".repeat(LONGEST + 1));
        let paths = [
            &long,
            "/v1/chat/completions",
            "/v1/models/ft:gpt-4o:org",
            "/v1/models/gpt-4o",
            "/model/x/delete",
            "/model/x/y/invoke",
            "/model/invoke",
            "/openai/deployments/gpt-4o",
            "/openai/deployments//chat",
            "/v1/models/:generateContent",
            "/model/%ff/invoke",
            "",
        ];
        for path in paths {
            assert!(Named::read(path).is_none(), "{path}");
        }
    }
}
