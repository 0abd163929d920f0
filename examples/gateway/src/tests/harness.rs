//! Runs a gateway in this process, on its own port.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use ::metrics::LocalRecorderGuard;
use serde_json::Value;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tower_429::share::{Driver, Sharing};

use super::{
    serve::{Config, Gateway, LimitedListener, log, metrics, serve, share},
    wire::{Head, Upstream, Wire},
};

pub(crate) const SECRETS: [(&str, &str); 3] = [
    ("KEY_1", "sk-secret-one"),
    ("KEY_2", "sk-secret-two"),
    ("KEY_3", "sk-secret-three"),
];

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) server: JoinHandle<()>,
    /// The task that shares the limits, if they are shared.
    pub(crate) driver: Option<JoinHandle<()>>,
    _recorder: LocalRecorderGuard<'static>,
}

/// The log of all gateways of this process.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

/// The subscriber of all threads. If only some threads had one, `tracing` could disable events that a test needs.
static LOG: LazyLock<Log> = LazyLock::new(|| {
    let written = Log::default();
    let writer = written.clone();
    let targets = log::Log::Debug.targets(None).unwrap();
    let subscriber = log::subscriber(targets, move || writer.clone());
    tracing::subscriber::set_global_default(subscriber).unwrap();
    written
});

impl Log {
    fn text(&self) -> String {
        let written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8(written.clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the lines of the log about calls to an upstream, without the time.
pub(crate) fn logged(upstream: SocketAddr) -> Vec<String> {
    logged_with(&format!("server.port={}", upstream.port()))
}

/// Returns the lines of the log that contain `part`, without the time.
pub(crate) fn logged_with(part: &str) -> Vec<String> {
    let text = LOG.text();
    let lines = text.lines().filter(|line| line.contains(part));
    lines
        .map(|line| line.split_once(' ').unwrap().1.trim_start().into())
        .collect()
}

pub(crate) fn variable(name: &str) -> Option<String> {
    let secret = SECRETS.iter().find(|(variable, _)| *variable == name);
    secret.map(|(_, secret)| (*secret).into())
}

/// Runs a gateway in front of one upstream, with these settings of the upstream. The default is one key.
pub(crate) async fn in_front_of(upstream: &Upstream, settings: &str) -> Running {
    in_front_of_with("", upstream, settings).await
}

/// Runs such a gateway, with settings of the gateway too.
pub(crate) async fn in_front_of_with(
    gateway: &str,
    upstream: &Upstream,
    settings: &str,
) -> Running {
    let keys = match settings.contains("keys =") {
        true => "",
        false => "keys = [\"KEY_1\"]",
    };
    let text = format!(
        "{gateway}\n[[upstream]]\nname = \"provider\"\nat = \"http://{}\"\nroutes = [\"/v1\"]\n{keys}\n{settings}",
        upstream.address
    );
    run(&Config::parse(&text).unwrap(), "").await
}

/// Runs a gateway that counts in the recorder of this thread. On a runtime with several threads, the counts are lost.
pub(crate) async fn run(config: &Config, mock: &str) -> Running {
    run_shared(config, mock, share::connect(config, &variable).unwrap()).await
}

/// Runs such a gateway that shares its limits through this.
pub(crate) async fn run_shared(
    config: &Config,
    mock: &str,
    shared: Option<(Sharing, Driver)>,
) -> Running {
    LazyLock::force(&LOG);
    let recorder = Box::leak(Box::new(metrics::recorder().unwrap()));
    let counts = recorder.handle();
    let guard = ::metrics::set_default_local_recorder(recorder);
    metrics::describe();
    let (sharing, driver) = shared.unzip();
    let gateway = Gateway::new(config, mock, &variable, counts, sharing);
    let gateway = Arc::new(gateway.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let router = gateway.router();
    let listener = LimitedListener::new(listener, config.max_connections);
    let server = tokio::spawn(serve(listener, router, async {
        let _ = stopped.await;
    }));
    Running {
        address,
        gateway,
        stop,
        server,
        driver: driver.map(tokio::spawn),
        _recorder: guard,
    }
}

impl Running {
    pub(crate) async fn connect(&self) -> Wire {
        Wire::connect(self.address).await
    }

    /// Sends a request, and reads the response to its end.
    pub(crate) async fn send(&self, request: &str) -> (Head, String) {
        let mut caller = self.connect().await;
        caller.send(request).await;
        let head = caller.head().await;
        let body = caller.read_body(&head).await;
        (head, String::from_utf8(body).unwrap())
    }

    pub(crate) async fn get(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let (head, body) = self.send(&request).await;
        assert_eq!(head.status(), 200, "{path}: {body}");
        body
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path).await).unwrap()
    }

    pub(crate) fn in_flight(&self) -> usize {
        let upstreams = self.gateway.upstreams.iter();
        let keys = upstreams.flat_map(|upstream| upstream.pool.snapshot());
        keys.map(|key| key.in_flight).sum()
    }
}

/// Reads a response that the gateway generated, and returns its status and its code.
pub(crate) async fn own_rejection(caller: &mut Wire) -> (u16, String) {
    let head = caller.head().await;
    let body = caller.read_body(&head).await;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let code = body["error"]["code"].as_str().unwrap_or_default();
    (head.status(), code.into())
}

/// Returns a chat request for a model, with these headers.
pub(crate) fn chat(model: &str, headers: &str) -> String {
    let body = format!(r#"{{"model": "{model}", "messages": []}}"#);
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

/// Returns a response with a body of known length.
pub(crate) fn response(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

pub(crate) const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                                 transfer-encoding: chunked\r\n\r\n";
