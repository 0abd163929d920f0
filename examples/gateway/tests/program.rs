//! The gateway as its users run it: a program with arguments, an environment and an exit code.

mod redis;
mod share;
mod tls;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};

use tls::Upstream;

const SECRET: &str = "sk-secret-one";

/// Writes a file with one upstream. Each test uses its own name.
fn file(name: &str, at: &str, more: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let text = format!(
        "listen = \"127.0.0.1:0\"\n[[upstream]]\nname = \"provider\"\nat = \"{at}\"\nroutes = [\"/v1\"]\n\
         keys = [\"KEY_1\"]\n{more}\n"
    );
    fs::write(&path, text).unwrap();
    path
}

/// Returns the program with a key and the certificate of the tests as its only environment.
fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_tower-429-gateway"));
    program
        .env_clear()
        .env("KEY_1", SECRET)
        .env("SSL_CERT_FILE", tls::AUTHORITY)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    program
}

/// Fails if something takes too long, so that a test never hangs.
async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let result = timeout(Duration::from_secs(120), future).await;
    result.unwrap_or_else(|_| panic!("{what} did not arrive in time"))
}

async fn output(program: &mut Command) -> Output {
    in_time("an exit code", program.output()).await.unwrap()
}

/// Starts the gateway in front of an upstream, and returns its address.
async fn start(name: &str, at: &str) -> (Child, String) {
    let mut child = program()
        .arg(file(name, at, ""))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    in_time("its address", lines.read_line(&mut line))
        .await
        .unwrap();
    let address = line.trim_end().strip_prefix("gateway at http://").unwrap();
    (child, address.into())
}

/// A caller of the gateway.
struct Caller {
    stream: TcpStream,
    read: String,
}

impl Caller {
    /// Connects and sends a chat request.
    async fn send(address: &str) -> Self {
        let body = r#"{"model": "large", "messages": []}"#;
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let read = String::new();
        Self { stream, read }
    }

    /// Reads until `part` has arrived.
    async fn until(&mut self, part: &str) {
        while !self.read.contains(part) {
            let mut bytes = Vec::new();
            let read = self.stream.read_buf(&mut bytes);
            let count = in_time(part, read).await.unwrap();
            assert!(count > 0, "closed after {:?}", self.read);
            self.read += std::str::from_utf8(&bytes).unwrap();
        }
    }

    /// Reads the response to the end of its connection.
    async fn response(mut self) -> String {
        let rest = self.stream.read_to_string(&mut self.read);
        in_time("a response", rest).await.unwrap();
        self.read
    }
}

#[test]
fn image_runs_the_installed_program_as_an_unprivileged_user() {
    let text = include_str!("../Dockerfile");
    let (build, image) = text.split_once("\nFROM debian:").unwrap();
    assert!(build.contains("cargo install --locked --path examples/gateway --root /installed"));
    let name = format!("/installed/bin/{}", program_name());
    assert!(
        image.contains(&format!("COPY --from=build {name} /usr/local/bin/\n")),
        "{name}"
    );
    let lines = [
        "USER 10001:10001",
        "EXPOSE 4290",
        "ENTRYPOINT [\"tower-429-gateway\"]",
    ];
    for line in lines {
        assert!(image.lines().any(|it| it == line), "{line}");
    }
    // No pattern excludes a file that cargo reads.
    let ignored = include_str!("../Dockerfile.dockerignore").lines();
    for pattern in ignored.filter(|line| !line.starts_with('#')) {
        let is_hidden = pattern.starts_with('.');
        assert!(is_hidden || pattern.starts_with("**/"), "{pattern}");
    }
}

fn program_name() -> String {
    let path = Path::new(env!("CARGO_BIN_EXE_tower-429-gateway"));
    path.file_stem().unwrap().to_str().unwrap().into()
}

#[tokio::test]
async fn check_of_a_valid_file_prints_a_summary_with_exit_code_0() {
    let path = file("right.toml", "https://localhost:1", "");
    let output = output(program().arg("--check").arg(path)).await;
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), &*errors), (Some(0), ""));
    assert!(
        text.contains("upstream provider at https://localhost:1"),
        "{text}"
    );
    assert!(text.contains("KEY_1") && !text.contains(SECRET), "{text}");
}

#[tokio::test]
async fn file_with_mistakes_is_reported_with_exit_code_1() {
    let path = file(
        "wrong.toml",
        "localhost",
        "deadline_ms = 0\ngroups = { KEY_2 = \"team\" }",
    );
    let name = path.display();
    for flags in [&["--check"][..], &[]] {
        let output = output(program().args(flags).arg(&path)).await;
        assert_eq!((output.status.code(), &*output.stdout), (Some(1), &b""[..]));
        let errors = String::from_utf8(output.stderr).unwrap();
        for (line, start) in errors.lines().zip([
            "gateway: 3 mistakes".into(),
            format!("{name}:4: `at` of upstream provider"),
            format!("{name}:7: `deadline_ms` of upstream provider"),
            format!("{name}:8: `groups` of upstream provider"),
        ]) {
            assert!(line.starts_with(&start), "{errors}");
        }
        assert_eq!(errors.lines().count(), 4, "{errors}");
    }
}

#[tokio::test]
async fn error_does_not_repeat_an_unknown_argument() {
    for arguments in [
        &["--key", SECRET][..],
        &["--chekc"],
        &["--check"],
        &["a.toml", SECRET],
    ] {
        let output = output(program().args(arguments)).await;
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(
            errors.contains("[--check] and the path of a TOML file"),
            "{errors}"
        );
        assert!(!errors.contains(SECRET), "{errors}");
    }
}

#[tokio::test]
async fn missing_certificates_are_a_mistake_if_an_upstream_needs_them() {
    for (name, at, code) in [
        ("tls.toml", "https://localhost", 1),
        ("plain.toml", "http://localhost", 0),
    ] {
        let path = file(name, at, "");
        let empty = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("empty.pem");
        fs::write(&empty, "").unwrap();
        let output = output(
            program()
                .env("SSL_CERT_FILE", empty)
                .arg("--check")
                .arg(path),
        )
        .await;
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{errors}");
        assert_eq!(errors.contains("set SSL_CERT_FILE"), code == 1, "{errors}");
    }
}

#[tokio::test]
async fn a_request_goes_to_an_upstream_over_tls_and_its_stream_comes_back() {
    let upstream = Upstream::start().await;
    let (_gateway, address) = start(
        "over_tls.toml",
        &format!("https://localhost:{}", upstream.port),
    )
    .await;
    let mut caller = Caller::send(&address).await;
    let mut provider = in_time("a connection", upstream.accept()).await.unwrap();
    let request = in_time("a request", provider.request()).await;
    for part in [
        "POST /v1/chat/completions HTTP/1.1\r\n".into(),
        format!("authorization: Bearer {SECRET}\r\n"),
        format!("host: localhost:{}\r\n", upstream.port),
    ] {
        assert!(request.contains(&part), "{request}");
    }
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    provider.send(head).await;
    // Each event arrives before the next is sent.
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        provider.send(&format!("9\r\n{event}\r\n")).await;
        caller.until(event).await;
    }
    provider.send("0\r\n\r\n").await;
    let response = caller.response().await;
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(response.ends_with("\r\n0\r\n\r\n"), "{response}");
}

#[tokio::test]
async fn an_upstream_whose_certificate_is_for_another_name_gets_no_request() {
    let upstream = Upstream::start().await;
    let at = format!("https://127.0.0.1:{}", upstream.port);
    let (_gateway, address) = start("another_name.toml", &at).await;
    let caller = Caller::send(&address).await;
    assert!(in_time("a connection", upstream.accept()).await.is_err());
    let response = caller.response().await;
    assert!(
        response.starts_with("HTTP/1.1 502 Bad Gateway\r\n"),
        "{response}"
    );
    assert!(response.contains("certificate"), "{response}");
}
