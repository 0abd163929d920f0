//! HTTP/1.1 on plain sockets, for both ends of the gateway. A test decides when each byte is sent, and notices when a
//! connection closes.

use std::{future::Future, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// Fails if something takes too long, so that a test never hangs.
pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let result = timeout(Duration::from_secs(120), future).await;
    result.unwrap_or_else(|_| panic!("{what} did not arrive in time"))
}

/// A provider whose bytes a test sends and reads.
pub(crate) struct Upstream {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

/// One end of a connection.
pub(crate) struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
    /// The bytes of a chunked body that were read, but not returned yet.
    body: Vec<u8>,
}

/// The head of a request or a response.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) start: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    pub(crate) async fn accept(&self) -> Wire {
        let (stream, _) = in_time("a connection", self.listener.accept())
            .await
            .unwrap();
        Wire::new(stream)
    }

    /// Accepts a connection, reads a request to its end and sends a response.
    pub(crate) async fn respond(&self, response: &str) -> (Wire, Head, Vec<u8>) {
        let mut wire = self.accept().await;
        let head = wire.head().await;
        let body = wire.read_body(&head).await;
        wire.send(response).await;
        (wire, head, body)
    }
}

impl Wire {
    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            read: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).await.unwrap())
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends bytes, and returns whether the other side still accepts them.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Stops sending. This side still reads.
    pub(crate) async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Sends one chunk of a chunked body. An empty chunk ends the body.
    pub(crate) async fn send_chunk(&mut self, text: &str) {
        self.send(format!("{:x}\r\n{text}\r\n", text.len())).await;
    }

    pub(crate) async fn head(&mut self) -> Head {
        let end = loop {
            match self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(end) => break end,
                None => self.more().await,
            }
        };
        let head: Vec<u8> = self.read.drain(..end + 4).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n").map(String::from);
        let start = lines.next().unwrap();
        let header = |line: String| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().into())
        };
        Head {
            start,
            headers: lines.map(header).collect(),
        }
    }

    /// Returns the next `length` bytes of a chunked body, as soon as they have arrived.
    pub(crate) async fn text(&mut self, length: usize) -> String {
        while self.body.len() < length {
            let chunk = self.chunk().await;
            assert!(!chunk.is_empty(), "the body ended early");
            self.body.extend(chunk);
        }
        let text = self.body.drain(..length).collect();
        String::from_utf8(text).unwrap()
    }

    async fn chunk(&mut self) -> Vec<u8> {
        let line = loop {
            match self.read.windows(2).position(|two| two == b"\r\n") {
                Some(end) => break self.read.drain(..end + 2).collect::<Vec<u8>>(),
                None => self.more().await,
            }
        };
        let size = String::from_utf8(line).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let mut chunk = self.exactly(size + 2).await;
        chunk.truncate(size);
        chunk
    }

    pub(crate) async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.read.len() < length {
            self.more().await;
        }
        self.read.drain(..length).collect()
    }

    /// Reads the body of a head to its end.
    pub(crate) async fn read_body(&mut self, head: &Head) -> Vec<u8> {
        if let Some(length) = head.get("content-length") {
            return self.exactly(length.parse().unwrap()).await;
        }
        let mut body = std::mem::take(&mut self.body);
        if head.get("transfer-encoding") == Some("chunked") {
            loop {
                let chunk = self.chunk().await;
                if chunk.is_empty() {
                    break;
                }
                body.extend(chunk);
            }
        }
        body
    }

    /// Waits until the other side has closed the connection.
    pub(crate) async fn closed(self) {
        self.rest().await;
    }

    /// Reads until the other side closes the connection.
    pub(crate) async fn rest(mut self) -> String {
        let mut rest = self.read;
        // A reset counts as an end, too.
        let _ = in_time(
            "the end of a connection",
            self.stream.read_to_end(&mut rest),
        )
        .await;
        String::from_utf8(rest).unwrap()
    }

    async fn more(&mut self) {
        let read = self.stream.read_buf(&mut self.read);
        let read = in_time("a byte", read).await.unwrap();
        assert!(
            read > 0,
            "closed after {:?}",
            String::from_utf8_lossy(&self.read)
        );
    }
}

impl Head {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn status(&self) -> u16 {
        self.start.split(' ').nth(1).unwrap().parse().unwrap()
    }
}
