//! Which provider's conventions apply if a header alone is ambiguous.

use http::Response;
use tower_429::{
    InspectLayer,
    inspect::InspectedBody,
    rejection::{Provider, Rejection, Window},
};

use super::{answer, body::Scripted, inspect_from};

/// Returns a rejection by a request limit, without a word about its window.
fn limited(body: &'static str) -> Response<Scripted> {
    let headers = [
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-requests", "30s"),
    ];
    answer(429, &headers, Scripted::of(body))
}

fn window(response: &Response<InspectedBody<Scripted>>) -> Option<Window> {
    response.extensions().get::<Rejection>().unwrap().window
}

#[tokio::test(start_paused = true)]
async fn host_identifies_the_provider_unless_a_setting_names_it() {
    let guess = InspectLayer::new();
    for body in ["", r#"{"error":{"message":"Slower, please."}}"#] {
        for (uri, layer, expected) in [
            ("https://api.groq.com/v1", guess, Window::Day),
            ("https://api.openai.com/v1", guess, Window::Minute),
            ("https://proxy.example/v1", guess, Window::Minute),
            (
                "https://proxy.example/v1",
                guess.provider(Provider::Groq),
                Window::Day,
            ),
            (
                "https://api.openai.com/v1",
                guess.provider(Provider::Groq),
                Window::Day,
            ),
            (
                "https://api.groq.com/v1",
                guess.provider(Provider::OpenAi),
                Window::Minute,
            ),
        ] {
            let response = inspect_from(uri, layer, limited(body)).await;
            assert_eq!(window(&response), Some(expected), "{uri} {layer:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn headers_identify_the_provider_unless_a_setting_names_it() {
    let headers = [
        ("x-groq-region", "eu"),
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-requests", "30s"),
    ];
    let of = async |layer| {
        let response = answer(429, &headers, Scripted::of(""));
        window(&inspect_from("https://proxy.example/v1", layer, response).await)
    };
    assert_eq!(of(InspectLayer::new()).await, Some(Window::Day));
    let open_ai = InspectLayer::new().provider(Provider::OpenAi);
    assert_eq!(of(open_ai).await, Some(Window::Minute));
}
