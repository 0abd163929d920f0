//! A provider over TLS of which a test plays the part. `make` has made its certificate.

use std::{io, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
    server::TlsStream,
};

/// The file of the authority that has signed the server's certificate.
pub(crate) const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/authority.pem");

pub(crate) struct Upstream {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    pub(crate) port: u16,
}

/// The provider's end of a connection.
pub(crate) struct Connection(TlsStream<TcpStream>);

impl Upstream {
    pub(crate) async fn start() -> Self {
        let certificate = CertificateDer::from_pem_slice(include_bytes!("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("server.key")).unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self {
            listener,
            acceptor: TlsAcceptor::from(Arc::new(config)),
            port,
        }
    }

    /// Accepts a connection, and fails if its handshake does.
    pub(crate) async fn accept(&self) -> io::Result<Connection> {
        let (stream, _) = self.listener.accept().await?;
        Ok(Connection(self.acceptor.accept(stream).await?))
    }
}

impl Connection {
    /// Reads a request whose body is JSON.
    pub(crate) async fn request(&mut self) -> String {
        let mut read = Vec::new();
        while !read.ends_with(b"}") {
            let count = self.0.read_buf(&mut read).await.unwrap();
            assert!(
                count > 0,
                "closed after {:?}",
                String::from_utf8_lossy(&read)
            );
        }
        String::from_utf8(read).unwrap()
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
    }
}
