use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{
    Shared, epoch,
    openai::{admit, limits, request_id},
    stream, words,
};

/// The Responses API of OpenAI: `POST /v1/responses`.
pub(super) async fn create(
    State(mock): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (model, left, request) = match admit(&mock, &headers, &body) {
        Ok(admitted) => admitted,
        Err(response) => return *response,
    };
    let answer = Answer {
        number: mock.number(),
        model,
        created: epoch(),
    };
    let head = (request_id(&mock), limits(left));
    if request["stream"] == true {
        let body = stream::body(&mock, &headers, answer.events());
        let kind = [(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")];
        return (head, kind, body).into_response();
    }
    (head, Json(answer.whole())).into_response()
}

struct Answer {
    number: u64,
    model: &'static str,
    created: u64,
}

impl Answer {
    fn whole(&self) -> Value {
        self.response("completed", json!([self.item("completed", self.content())]))
    }

    fn content(&self) -> Value {
        json!([{ "type": "output_text", "text": words(self.model).concat(), "annotations": [] }])
    }

    fn item(&self, status: &str, content: Value) -> Value {
        let id = format!("msg_mock{}", self.number);
        json!({ "id": id, "type": "message", "role": "assistant", "status": status, "content": content })
    }

    fn response(&self, status: &str, output: Value) -> Value {
        json!({
            "id": format!("resp_mock{}", self.number),
            "object": "response",
            "created_at": self.created,
            "status": status,
            "model": self.model,
            "output": output,
            "error": null,
            "incomplete_details": null,
            "instructions": null,
            "metadata": {},
            "parallel_tool_calls": true,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
        })
    }

    fn events(&self) -> Vec<String> {
        let item = format!("msg_mock{}", self.number);
        let mut events = vec![
            json!({ "type": "response.created", "response": self.response("in_progress", json!([])) }),
            json!({ "type": "response.output_item.added", "output_index": 0, "item": self.item("in_progress", json!([])) }),
        ];
        events.extend(words(self.model).into_iter().map(|word| {
            json!({
                "type": "response.output_text.delta", "item_id": item, "output_index": 0,
                "content_index": 0, "delta": word, "logprobs": [],
            })
        }));
        events.push(json!({ "type": "response.completed", "response": self.whole() }));
        let numbered = events.into_iter().enumerate().map(|(number, mut event)| {
            event["sequence_number"] = number.into();
            let name = event["type"].as_str().unwrap_or_default();
            format!("event: {name}\ndata: {event}\n\n")
        });
        numbered.collect()
    }
}
