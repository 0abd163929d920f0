//! Several gateways as processes of their own, which share their limits through a server.

use std::{fs, path::PathBuf, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::Child,
};

use super::{SECRET, in_time, output, program, redis::Server};

const PASSWORD: &str = "password-of-the-server";

/// Writes a file whose gateway shares its limits.
fn file(name: &str, share: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let text = format!(
        "listen = \"127.0.0.1:0\"\nshare = \"{share}\"\nshare_secret = \"SHARE_SECRET\"\n[[upstream]]\n\
         name = \"provider\"\nat = \"http://127.0.0.1:1\"\nroutes = [\"/v1\"]\nkeys = [\"KEY_1\"]\n"
    );
    fs::write(&path, text).unwrap();
    path
}

/// A gateway that shares its limits, and its log.
struct Gateway {
    process: Child,
    address: String,
}

impl Gateway {
    async fn start(path: &PathBuf, url: &str) -> Self {
        let mut process = program()
            .arg(path)
            .env("SHARE_SECRET", "secret-of-all")
            .env("SHARE_URL", url)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut lines = BufReader::new(process.stdout.take().unwrap());
        in_time("its address", lines.read_line(&mut line))
            .await
            .unwrap();
        let address = line.trim_end().strip_prefix("gateway at http://").unwrap();
        Self {
            process,
            address: address.into(),
        }
    }

    async fn share(&self) -> String {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let request = "GET /share HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        response
    }

    /// Waits until its view of the share contains a text.
    async fn until(&self, part: &str) {
        let shown = async { while !self.share().await.contains(part) {} };
        in_time(part, shown).await;
    }

    /// Stops it as an orchestrator does, and returns whether it has succeeded, and its log.
    async fn stop(mut self) -> (bool, String) {
        let process = self.process.id().unwrap().to_string();
        let signal = std::process::Command::new("kill")
            .args(["-TERM", &process])
            .status();
        assert!(signal.unwrap().success());
        let mut log = String::new();
        let mut errors = self.process.stderr.take().unwrap();
        in_time("the log", errors.read_to_string(&mut log))
            .await
            .unwrap();
        let status = in_time("an exit code", self.process.wait()).await.unwrap();
        (status.success(), log)
    }
}

/// Returns the lines of a log about sharing.
fn lines(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.contains("share=")).collect()
}

#[cfg(unix)]
#[tokio::test]
async fn gateway_that_stops_leaves_those_that_share_with_it() {
    let Some(server) = Server::start() else {
        return;
    };
    let path = file("shared.toml", "SHARE_URL");
    let one = Gateway::start(&path, &server.url()).await;
    let other = Gateway::start(&path, &server.url()).await;
    for gateway in [&one, &other] {
        gateway.until("\"processes\":2").await;
    }
    let (succeeded, log) = one.stop().await;
    assert!(succeeded, "{log}");
    let [line] = lines(&log)[..] else {
        panic!("one line for one change: {log}");
    };
    assert!(
        line.contains("INFO") && line.contains("limits are shared"),
        "{log}"
    );
    other.until("\"processes\":1").await;
    // The server dies while the gateway runs.
    drop(server);
    other.until("\"state\":\"away\"").await;
    let (succeeded, log) = other.stop().await;
    assert!(succeeded, "{log}");
    assert_eq!(lines(&log).len(), 2, "one line for each change: {log}");
    for secret in [SECRET, "secret-of-all"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn gateway_starts_without_its_server_and_says_so_once() {
    let url = format!("redis://me:{PASSWORD}@127.0.0.1:1");
    let path = file("server_is_away.toml", &url);
    let gateway = Gateway::start(&path, "").await;
    gateway.until("\"state\":\"away\"").await;
    assert!(gateway.share().await.contains("\"processes\":null"));
    let (succeeded, log) = gateway.stop().await;
    assert!(succeeded, "{log}");
    let [line] = lines(&log)[..] else {
        panic!("one line for one change: {log}");
    };
    assert!(
        line.contains("WARN") && line.contains("engine is away"),
        "{log}"
    );
    assert!(!log.contains(PASSWORD), "{log}");
}

#[tokio::test]
async fn check_shows_the_server_and_no_password() {
    let url = format!("rediss://me:{PASSWORD}@127.0.0.1:1");
    let path = file("server_with_password.toml", &url);
    let check = |secret: &str| {
        let mut program = program();
        program.arg("--check").arg(&path);
        program.env("SHARE_SECRET", secret);
        program
    };
    let right = output(&mut check("secret-of-all")).await;
    let text = String::from_utf8(right.stdout).unwrap();
    assert_eq!(right.status.code(), Some(0), "{text}");
    assert!(
        text.contains("through rediss://127.0.0.1:1, with the secret in SHARE_SECRET\n"),
        "{text}"
    );
    assert!(!text.contains(PASSWORD) && !text.contains("secret-of-all"));

    let wrong = output(&mut check("")).await;
    let errors = String::from_utf8(wrong.stderr).unwrap();
    assert_eq!(wrong.status.code(), Some(1), "{errors}");
    let start = format!(
        "gateway: {}:3: the environment variable SHARE_SECRET is not set",
        path.display()
    );
    assert!(errors.starts_with(&start), "{errors}");
}
