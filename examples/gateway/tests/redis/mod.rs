//! A server of Redis that a test starts for itself.

use std::{
    env, fs,
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{self, Child, Command, Stdio},
    thread,
    time::Duration,
};

/// A server on a port of its own. It ends with this value.
pub(crate) struct Server {
    process: Child,
    folder: PathBuf,
    port: u16,
}

impl Server {
    /// Starts a server; `None`, and says so, if none is installed.
    pub(crate) fn start() -> Option<Self> {
        let Some(program) = program() else {
            let test = thread::current();
            // The harness of the tests would hide what `eprintln` writes.
            let _ = writeln!(
                io::stderr(),
                "\n== SKIPPED: {} needs a server. Install redis-server or valkey-server, or set \
                 TOWER_429_REDIS_SERVER to the path of one.\n",
                test.name().unwrap_or_default()
            );
            return None;
        };
        let port = free_port();
        let folder = env::temp_dir().join(format!("tower-429-gateway-{}-{port}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        let process = Command::new(program)
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Self {
            process,
            folder,
            port,
        };
        while !server.responds() {
            let status = server.process.try_wait().unwrap();
            assert!(status.is_none(), "the server has ended: {status:?}");
            thread::yield_now();
        }
        Some(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn responds(&self) -> bool {
        let ping = || -> io::Result<[u8; 5]> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.write_all(b"PING\r\n")?;
            let mut reply = [0; 5];
            stream.read_exact(&mut reply)?;
            Ok(reply)
        };
        ping().is_ok_and(|reply| &reply == b"+PONG")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Returns a port that is free now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Returns the path of a server that is installed.
fn program() -> Option<PathBuf> {
    if let Some(path) = env::var_os("TOWER_429_REDIS_SERVER") {
        return Some(path.into());
    }
    let folders = env::var_os("PATH")?;
    let mut paths = env::split_paths(&folders)
        .flat_map(|folder| ["redis-server", "valkey-server"].map(|program| folder.join(program)));
    paths.find(|path| path.is_file())
}
