//! InspectLayer, through the public API, on a paused clock.

#![allow(clippy::disallowed_methods)] // a test under a paused clock may look at it

mod body;
mod dialect;
mod hand_on;
mod heights;
mod hostile;
#[path = "../script/mod.rs"]
mod script;
mod untouched;

use std::{convert::Infallible, future::ready};

use http::{Request, Response};
use tower::{Layer, ServiceExt, service_fn};
use tower_429::{InspectLayer, inspect::InspectedBody};

use body::Scripted;

/// What the layer makes of a response.
async fn inspect(
    layer: InspectLayer,
    response: Response<Scripted>,
) -> Response<InspectedBody<Scripted>> {
    inspect_from("https://api.example/v1/chat", layer, response).await
}

/// As [`inspect`], of a response from a host.
async fn inspect_from(
    uri: &str,
    layer: InspectLayer,
    response: Response<Scripted>,
) -> Response<InspectedBody<Scripted>> {
    let mut response = Some(response);
    let provider = service_fn(move |_: Request<()>| {
        ready(Ok::<_, Infallible>(response.take().expect("one call")))
    });
    let request = Request::post(uri).body(()).unwrap();
    layer.layer(provider).oneshot(request).await.unwrap()
}

/// A response with header lines.
fn answer(status: u16, headers: &[(&str, &str)], body: Scripted) -> Response<Scripted> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body).unwrap()
}
