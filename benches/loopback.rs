//! What the layers add over HTTP/1.1 on loopback: `cargo bench --bench loopback`.
//!
//! The server is a process of its own. So client, server and kernel fill the processor's caches between two
//! requests, as in a real program. The stacks take turns in one run, because times of two runs do not compare.

mod provider;
#[allow(dead_code)]
#[path = "happy_path/stacks.rs"]
mod stacks;

use std::{
    env,
    fmt::Debug,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use mock_provider::Server;
use tokio::runtime;
use tower::{Layer, Service, ServiceExt};
use tower_429::{InspectLayer, KeyRotationLayer};

use crate::{
    provider::{LIMITS, USUAL, headers},
    stacks::{body, layers, pool, request, retries},
};

type HyperClient = Client<HttpConnector, Full<Bytes>>;

/// How often each stack has its turn, and how many requests it sends then.
const TURNS: usize = 400;
const REQUESTS: usize = 50;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    if arguments == ["server"] {
        runtime.block_on(serve());
    } else {
        let is_test = !arguments.iter().any(|argument| argument == "--bench");
        runtime.block_on(compare(if is_test { 1 } else { TURNS }));
    }
}

/// Answers each request once it has it whole, until its input is closed.
async fn serve() {
    let usual = headers(&[&USUAL[..2], LIMITS]);
    let server = Server::http1(move |request: Request<Incoming>| {
        let mut response = Response::new(Full::new(Bytes::from_static(b"{}")));
        *response.headers_mut() = usual.clone();
        async move {
            request.into_body().collect().await.expect("a whole body");
            response
        }
    });
    println!("{}", server.await.expect("a port").origin());
    std::future::pending::<()>().await;
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start() -> (Process, String) {
    let program = env::current_exe().expect("its own path");
    let mut server = Command::new(program);
    let server = server.arg("server").stdout(Stdio::piped()).spawn();
    let mut server = server.expect("a process");
    let output = server.stdout.take().expect("its output");
    let mut origin = String::new();
    let read = BufReader::new(output).read_line(&mut origin);
    read.expect("the origin");
    (Process(server), origin.trim().to_owned())
}

async fn compare(turns: usize) {
    let (_server, origin) = start();
    let request = request(&origin, body(3));
    let client = || -> HyperClient { Client::builder(TokioExecutor::new()).build_http() };
    let mut bare = client();
    let mut retries = retries().service(client());
    let mut rotation = KeyRotationLayer::new(pool()).layer(client());
    let mut three = layers().service(client());
    let mut four = layers().layer(InspectLayer::new()).service(client());
    let mut times: [Vec<Duration>; 5] = Default::default();
    for turn in 0..=turns {
        let taken = [
            send(&mut bare, &request).await,
            send(&mut retries, &request).await,
            send(&mut rotation, &request).await,
            send(&mut three, &request).await,
            send(&mut four, &request).await,
        ];
        // In the first turn the connections are made.
        if turn > 0 {
            times
                .iter_mut()
                .zip(taken)
                .for_each(|(all, time)| all.push(time));
        }
    }
    print(times);
}

/// Returns the mean time of one request.
async fn send<S, R>(service: &mut S, request: &Request<Full<Bytes>>) -> Duration
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Debug>,
    R: Body<Data = Bytes, Error: Debug>,
{
    let began = now();
    for _ in 0..REQUESTS {
        let service = service.ready().await.expect("it is ready");
        let response = service.call(request.clone()).await;
        let body = response.expect("a response").into_body();
        body.collect().await.expect("a whole body");
    }
    began.elapsed() / u32::try_from(REQUESTS).expect("it fits")
}

#[allow(clippy::disallowed_methods)] // A bench measures.
fn now() -> Instant {
    Instant::now()
}

fn print(times: [Vec<Duration>; 5]) {
    let medians = times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e6
    });
    let [bare, retries, ..] = medians;
    let names = [
        "hyper's client alone",
        "three `tower::retry` layers",
        "KeyRotation",
        "three layers",
        "three layers and Inspect",
    ];
    println!("| | median of {TURNS} turns | added | relative to what three retries add |");
    println!("|---|---|---|---|");
    for (name, time) in names.into_iter().zip(medians) {
        let added = time - bare;
        let relative = added / (retries - bare);
        println!("| {name} | {time:.1} µs | {added:.1} µs | {relative:.1} |");
    }
}
