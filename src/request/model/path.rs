//! The model in the path, as in the URLs of Gemini, Azure and Bedrock.

use std::{ops::Range, sync::Arc};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::name::MAX_NAME_LENGTH;

/// The methods of Gemini and Vertex. Another word after a colon is part of the model's name, as in the
/// names of OpenAI's fine-tuned models.
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

/// The operations of Bedrock.
const OPERATIONS: [&str; 6] = [
    "invoke",
    "invoke-with-response-stream",
    "invoke-with-bidirectional-stream",
    "converse",
    "converse-stream",
    "count-tokens",
];

/// All but the unreserved characters of RFC 3986, section 2.3. Bedrock's ids may contain `:` and `/`.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A path that names a model.
#[derive(Clone, Debug)]
pub(crate) struct PathModel {
    pub(super) model: Arc<str>,
    path: String,
    value: Range<usize>,
}

// === impl PathModel ===

impl PathModel {
    /// Returns `None` if the path names no model.
    pub(super) fn read(path: &str) -> Option<Self> {
        let value = azure(path)
            .or_else(|| gemini(path))
            .or_else(|| bedrock(path))?;
        let model = percent_decode_str(&path[value.clone()])
            .decode_utf8()
            .ok()?;
        (1..=MAX_NAME_LENGTH).contains(&model.len()).then(|| Self {
            model: model.into(),
            path: path.into(),
            value,
        })
    }

    /// Returns the path with another model.
    pub(super) fn with(&self, model: &str) -> String {
        let Range { start, end } = self.value;
        let model = utf8_percent_encode(model, SEGMENT);
        format!("{}{model}{}", &self.path[..start], &self.path[end..])
    }
}

/// `/openai/deployments/{deployment}/...`
fn azure(path: &str) -> Option<Range<usize>> {
    const BEFORE: &str = "/openai/deployments/";
    // `str::find` takes longer to prepare its search than to search a path.
    let mut windows = path.as_bytes().windows(BEFORE.len());
    let start = windows.position(|window| window == BEFORE.as_bytes())? + BEFORE.len();
    let length = path[start..].find('/')?;
    Some(start..start + length)
}

// The end of the path is compared first, because it excludes most paths at little cost.

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
    fn model_is_replaced_in_the_path_of_each_provider() {
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
            let named = PathModel::read(path).expect(path);
            assert_eq!(
                (&*named.model, named.with("n/w").as_str()),
                (model, changed)
            );
        }
    }

    #[test]
    fn other_paths_name_no_model() {
        let long = format!("/model/{}/invoke", "m".repeat(MAX_NAME_LENGTH + 1));
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
            assert!(PathModel::read(path).is_none(), "{path}");
        }
    }
}
