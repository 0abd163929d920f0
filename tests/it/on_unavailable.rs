//! `on_unavailable`: a provider that is down for a moment, over real sockets.

use std::{
    error::Error,
    iter,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper_util::client::legacy;
use mock_provider::Server;
use tokio::io::AsyncReadExt;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, timeout::TimeoutLayer};
use tower_429::{
    BackoffLayer, Call, FallbackLayer,
    backoff::{Delays, IfUnavailable},
    fallback::Target,
};

use crate::sockets::hyper_client;

type Body = Full<Bytes>;

/// Returns a layer with the shortest waits, because these tests run in real time.
fn backoff() -> BackoffLayer<impl Delays<Iter = impl Iterator> + Clone> {
    BackoffLayer::new()
        .attempts(3)
        .delays(|_seed| iter::repeat(Duration::from_millis(1)))
}

/// Returns the address of a port that refuses connections. No other socket gets the port meanwhile, because the system
/// assigns other ports first.
fn refusing() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

/// Responds with these statuses in turn, and then with 200.
async fn answering(statuses: &'static [u16]) -> Server {
    let count = Arc::new(AtomicUsize::new(0));
    let server = Server::http1(move |_| {
        let status = statuses.get(count.fetch_add(1, Ordering::SeqCst));
        let response = Response::builder().status(*status.unwrap_or(&200));
        async move { response.body(Body::default()).unwrap() }
    });
    server.await.unwrap()
}

/// Accepts connections, and resets each after the first bytes.
async fn resetting() -> Server {
    let server = Server::accept(|mut socket| {
        tokio::spawn(async move {
            let mut byte = [0];
            let _ = socket.read(&mut byte).await;
            let _ = socket.set_zero_linger();
        });
    });
    server.await.unwrap()
}

/// Sends a request. Returns the status or the error, and the number of sends.
async fn send<S, R, B>(client: S, origin: &str) -> (Result<u16, S::Error>, usize)
where
    S: Service<Request<B>, Response = Response<R>>,
    B: Default,
{
    let call = Call::new();
    let request = Request::post(format!("{origin}/v1/chat")).extension(call.clone());
    let result = client.oneshot(request.body(B::default()).unwrap()).await;
    let status = result.map(|response| response.status().as_u16());
    (status, call.trail().attempts().len())
}

fn origin(address: SocketAddr) -> String {
    format!("http://{address}")
}

#[tokio::test]
async fn backoff_sends_again_while_the_provider_returns_503() {
    let server = answering(&[503, 503]).await;
    let client = backoff()
        .on([])
        .on_unavailable()
        .layer(hyper_client::<Body>());
    let (status, sends) = send(client, &server.origin()).await;
    assert_eq!((status.unwrap(), sends), (200, 3));
}

#[tokio::test]
async fn each_status_of_an_outage_counts_and_no_other() {
    for (statuses, expected) in [
        (&[500, 502], 200),
        (&[504, 408], 200),
        (&[501, 200], 501),
        (&[505, 200], 505),
        (&[409, 200], 409),
        (&[404, 200], 404),
    ] {
        let server = answering(statuses).await;
        let client = backoff().on_unavailable().layer(hyper_client::<Body>());
        let (status, _) = send(client, &server.origin()).await;
        assert_eq!(status.unwrap(), expected);
    }
    let server = answering(&[502]).await;
    let client = backoff().layer(hyper_client::<Body>());
    assert_eq!(
        send(client, &server.origin()).await.0.unwrap(),
        502,
        "by opt-in"
    );
}

#[tokio::test]
async fn backoff_sends_again_once_a_refusing_port_is_open() {
    let address = refusing();
    let server = Arc::new(Mutex::new(None));
    let opened = server.clone();
    let layer = backoff().on_unavailable().on_attempt(move |attempt| {
        if attempt
            .error
            .as_ref()
            .is_some_and(|error| error.kind == "ConnectionRefused")
        {
            let listener = TcpListener::bind(address).unwrap();
            let accept = move || drop(listener.accept().map(|(socket, _)| answer(socket)));
            *opened.lock().unwrap() = Some(std::thread::spawn(accept));
        }
    });
    let (status, sends) = send(layer.layer(hyper_client::<Body>()), &origin(address)).await;
    assert_eq!((status.unwrap(), sends), (200, 2));
    server.lock().unwrap().take().unwrap().join().unwrap();
}

/// Responds to a request with an empty 200.
fn answer(mut socket: std::net::TcpStream) {
    use std::io::{Read, Write};

    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    socket
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        .unwrap();
}

#[tokio::test]
async fn fallback_sends_to_the_next_target_if_the_port_refuses() {
    let server = answering(&[]).await;
    let target = Target::same_model_at(&server.origin()).unwrap();
    let client = FallbackLayer::new([target])
        .on_unavailable()
        .layer(hyper_client::<Body>());
    let (status, sends) = send(client, &origin(refusing())).await;
    assert_eq!((status.unwrap(), sends), (200, 2));
}

#[tokio::test]
async fn fallback_sends_to_the_next_target_after_502() {
    let (down, server) = (answering(&[502, 502]).await, answering(&[]).await);
    let target = Target::same_model_at(&server.origin()).unwrap();
    let client = FallbackLayer::new([target])
        .on_unavailable()
        .layer(hyper_client::<Body>());
    let (status, sends) = send(client, &down.origin()).await;
    assert_eq!((status.unwrap(), sends), (200, 2));
}

#[tokio::test]
async fn refused_connection_counts_through_a_boxed_error() {
    let client = ServiceBuilder::new()
        .layer(backoff().on_unavailable())
        .layer(TimeoutLayer::new(Duration::from_secs(60)))
        .service(hyper_client::<Body>());
    let (result, sends) = send(client, &origin(refusing())).await;
    let error: BoxError = result.unwrap_err();
    assert!(error.is::<legacy::Error>());
    assert_eq!(sends, 3);
}

#[tokio::test]
async fn connection_that_is_reset_counts_only_by_on_error() {
    let server = resetting().await;
    let client = backoff().on_unavailable().layer(hyper_client::<Body>());
    let (result, sends) = send(client, &server.origin()).await;
    assert!(!result.unwrap_err().is_connect());
    assert_eq!(sends, 1);

    let named = |error: &legacy::Error| !error.is_connect();
    for layer in [
        backoff().on_unavailable().on_error(named),
        backoff().on_error(named).on_unavailable(),
    ] {
        let client = layer.layer(hyper_client::<Body>());
        assert_eq!(send(client.clone(), &server.origin()).await.1, 3);
        assert_eq!(send(client, &origin(refusing())).await.1, 3);
    }
}

#[tokio::test]
async fn failed_lookup_counts_by_is_connect_of_hyper() {
    let connect = |error: &legacy::Error| error.is_connect();
    let client = backoff()
        .on_unavailable()
        .on_error(connect)
        .layer(hyper_client::<Body>());
    // The label is too long for a name, so no resolver sends a query.
    let origin = format!("http://{}.example", "x".repeat(64));
    let (result, sends) = send(client, &origin).await;
    assert!(result.unwrap_err().is_connect());
    assert_eq!(sends, 3);
}

#[test]
fn layer_can_be_debugged_and_cloned() {
    fn is_usable<T: Clone + std::fmt::Debug + Send + Sync>(layer: &T) -> String {
        format!("{:?}", layer.clone())
    }
    struct Kind;
    let layer: BackoffLayer<_, IfUnavailable<Kind>> = BackoffLayer::new().on_unavailable();
    assert!(is_usable(&layer).contains("unavailable: true"));
}

#[cfg(feature = "reqwest")]
mod with_reqwest {
    use reqwest::dns::{Name, Resolve, Resolving};
    use tower_429::client::ReqwestClient;

    use super::*;

    /// Fails each lookup.
    struct NoNames;

    impl Resolve for NoNames {
        fn resolve(&self, _: Name) -> Resolving {
            let error: Box<dyn Error + Send + Sync> = "no such name".into();
            Box::pin(std::future::ready(Err(error)))
        }
    }

    #[tokio::test]
    async fn refused_connection_and_failed_lookup_count_with_reqwest() {
        let client = reqwest::Client::builder().dns_resolver(NoNames);
        let client = ReqwestClient::new(client.build().unwrap());
        let client = backoff().on_unavailable().layer(client);
        for origin in [origin(refusing()), "http://api.example".into()] {
            let (result, sends) = send(client.clone(), &origin).await;
            let error: reqwest::Error = result.unwrap_err();
            assert!(error.is_connect());
            assert_eq!(sends, 3);
        }
    }

    #[tokio::test]
    async fn connection_that_is_reset_does_not_count_with_reqwest() {
        let server = resetting().await;
        let client = backoff().on_unavailable();
        let client = client.layer(ReqwestClient::new(reqwest::Client::new()));
        let (result, sends) = send(client, &server.origin()).await;
        assert!(!result.unwrap_err().is_connect());
        assert_eq!(sends, 1);
    }
}
