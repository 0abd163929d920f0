//! HTTP/1.1 by hand, for both ends of the gateway: a test says when each byte leaves, and sees when a
//! connection closes.

use std::{future::Future, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// What never comes is a failure and no hang.
pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let given_up = timeout(Duration::from_secs(120), future).await;
    given_up.unwrap_or_else(|_| panic!("{what} never came"))
}

/// A provider of which a test plays the part.
pub(crate) struct Upstream {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

/// One end of a connection.
pub(crate) struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
    /// What a chunked body has left over from what was asked for.
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

    /// Accepts, reads a request whole and answers it.
    pub(crate) async fn answer(&self, response: &str) -> (Wire, Head, Vec<u8>) {
        let mut wire = self.accept().await;
        let head = wire.head().await;
        let body = wire.whole(&head).await;
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

    /// Whether the other side still takes what is sent.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Closes this side, which still reads.
    pub(crate) async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// One chunk of a chunked body; an empty one ends it.
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

    /// The next `length` bytes of a chunked body, as soon as they are there.
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

    /// The body that such a head announces, to its end.
    pub(crate) async fn whole(&mut self, head: &Head) -> Vec<u8> {
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

    /// What still comes before the other side closes the connection.
    pub(crate) async fn rest(mut self) -> String {
        let mut rest = self.read;
        // A reset is as good as an end.
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
