//! A server with a certificate.

use std::{env, path::Path, process, process::Command, time::Duration};

use crate::{
    outages::share,
    processes::{all_failed, keys},
    provider::Provider,
    support::{Server, free_port, skip},
    worker::Work,
};

/// Makes a certificate for 127.0.0.1; `None`, and reports that, if openssl is not installed.
fn make_certificate(certificate: &Path, key: &Path) -> Option<()> {
    let made = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1",
        ])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-out")
        .arg(certificate)
        .arg("-keyout")
        .arg(key)
        .output();
    if !made.is_ok_and(|output| output.status.success()) {
        skip("openssl to make a certificate");
        return None;
    }
    Some(())
}

#[tokio::test]
async fn process_shares_with_a_server_whose_certificate_it_trusts() {
    let file = |name| env::temp_dir().join(format!("tower-429-{}-{name}", process::id()));
    let (certificate, key) = (file("certificate.pem"), file("key.pem"));
    if make_certificate(&certificate, &key).is_none() {
        return;
    }
    let port = free_port().to_string();
    let (of_certificate, of_key) = (certificate.to_string_lossy(), key.to_string_lossy());
    let arguments = [
        "--tls-port",
        &port,
        "--tls-auth-clients",
        "no",
        "--tls-cert-file",
        &of_certificate,
    ];
    let arguments = [&arguments[..], &["--tls-key-file", &of_key]].concat();
    let Some(server) = Server::start_with(&arguments) else {
        return;
    };
    let provider = Provider::start().await.expect("a port is free");
    let work = Work {
        server: Some(format!("rediss://127.0.0.1:{port}")),
        origin: provider.origin().to_owned(),
        keys: keys(1),
        callers: 4,
        calls: 20,
        pause: Duration::ZERO,
    };
    let worker = work.command().env("SSL_CERT_FILE", &certificate).spawn();
    let worker = worker.expect("this program can be started");
    assert!(share(&server, 1).await, "it does not share");
    assert_eq!(all_failed(vec![worker]).await, 0);
    for file in [certificate, key] {
        std::fs::remove_file(file).ok();
    }
}
