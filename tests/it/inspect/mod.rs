//! `InspectLayer` through the public API, with a paused clock.

mod body;
mod deadline;
mod hand_on;
mod heights;
mod hostile;
mod provider;
mod untouched;

use std::{convert::Infallible, future::ready};

use http::{Request, Response};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_429::{InspectLayer, inspect::InspectedBody};

use body::Scripted;

/// Passes a response through the layer.
async fn inspect(
    layer: InspectLayer,
    response: Response<Scripted>,
) -> Response<InspectedBody<Scripted>> {
    inspect_from("https://api.example/v1/chat", layer, response).await
}

/// Passes a response through two layers.
async fn inspect_twice(
    layer: InspectLayer,
    response: Response<Scripted>,
) -> Response<InspectedBody<InspectedBody<Scripted>>> {
    let provider = ServiceBuilder::new().layer(layer).service(once(response));
    layer
        .layer(provider)
        .oneshot(Request::new(()))
        .await
        .unwrap()
}

/// Returns a provider with one response.
fn once(
    response: Response<Scripted>,
) -> impl Service<Request<()>, Response = Response<Scripted>, Error = Infallible> {
    let mut response = Some(response);
    service_fn(move |_: Request<()>| ready(Ok(response.take().expect("one call"))))
}

/// Passes a response from a host through the layer.
async fn inspect_from(
    uri: &str,
    layer: InspectLayer,
    response: Response<Scripted>,
) -> Response<InspectedBody<Scripted>> {
    let request = Request::post(uri).body(()).unwrap();
    layer.layer(once(response)).oneshot(request).await.unwrap()
}

/// Returns a response with these headers.
fn answer(status: u16, headers: &[(&str, &str)], body: Scripted) -> Response<Scripted> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body).unwrap()
}
