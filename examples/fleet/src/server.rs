//! A Redis or Valkey for this program alone.

use std::{
    env, fs,
    net::TcpListener,
    path::PathBuf,
    process::{self, Child, Command, Stdio},
    time::Duration,
};

use tokio::{net::TcpStream, time::sleep};

/// A server on a free port of loopback. It ends with this value.
pub(crate) struct Server {
    port: u16,
    folder: PathBuf,
    process: Child,
}

impl Server {
    /// Starts a server; `None` if none is installed.
    pub(crate) async fn start() -> std::io::Result<Option<Self>> {
        let Some(program) = program() else {
            return Ok(None);
        };
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let folder = env::temp_dir().join(format!("tower-429-fleet-{}", process::id()));
        fs::create_dir_all(&folder)?;
        let process = Command::new(program)
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let server = Self {
            port,
            folder,
            process,
        };
        // The processes would also start without it, but then not share from the beginning.
        for _ in 0..500 {
            if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(Some(server))
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
        fs::remove_dir_all(&self.folder).ok();
    }
}

fn program() -> Option<PathBuf> {
    if let Some(path) = env::var_os("TOWER_429_REDIS_SERVER") {
        return Some(path.into());
    }
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders)
        .flat_map(|folder| ["redis-server", "valkey-server"].map(|name| folder.join(name)))
        .find(|path| path.is_file())
}
