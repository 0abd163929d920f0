//! A real server that a test starts, stops and kills.

use std::{
    env, fs,
    io::{self, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

/// How long a test waits for something that a loaded machine may delay.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server on a port of its own. It ends with this value.
pub(crate) struct Server {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    process: Child,
}

/// A file with the number of seconds that the clock of a server is ahead.
const CLOCK: &str = "clock";

impl Server {
    /// Starts a server. Returns `None`, and reports that, if none is installed.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// Starts a server with more arguments.
    pub(crate) fn start_with(arguments: &[&str]) -> Option<Self> {
        Self::start_in(folder(), arguments, Vec::new())
    }

    /// Starts a server whose clock can be set. Returns `None`, and reports that, without libfaketime.
    pub(crate) fn start_with_clock() -> Option<Self> {
        let Some(library) = faketime() else {
            skip("libfaketime. Install faketime");
            return None;
        };
        let folder = folder();
        set_clock(&folder, 0);
        let file = folder.join(CLOCK).display().to_string();
        // The allocator of the server reads the clock before the library is ready, and that of the C library does not.
        let libraries = format!("{} libc.so.6", library.display());
        let environment = vec![
            ("LD_PRELOAD", libraries),
            ("FAKETIME_TIMESTAMP_FILE", file),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            // Two releases of the library have two names for it.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        Self::start_in(folder, &[], environment)
    }

    fn start_in(
        folder: PathBuf,
        arguments: &[&str],
        environment: Vec<(&'static str, String)>,
    ) -> Option<Self> {
        let Some(program) = program() else {
            skip(
                "a server. Install redis-server or valkey-server, or set TOWER_429_REDIS_SERVER to the path of one",
            );
            return None;
        };
        let port = free_port();
        let arguments: Vec<_> = arguments.iter().map(|it| (*it).to_owned()).collect();
        let process = launch(&program, &folder, port, (&arguments, &environment));
        let mut server = Self {
            program,
            folder,
            port,
            arguments,
            environment,
            process,
        };
        server.wait();
        Some(server)
    }

    /// Sets how many seconds the clock of the server is ahead.
    pub(crate) fn set_clock(&self, seconds: i64) {
        set_clock(&self.folder, seconds);
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns a connection of an administrator.
    pub(crate) fn admin(&self) -> redis::Connection {
        let client = redis::Client::open(self.url()).expect("the URL is valid");
        client.get_connection().expect("the server runs")
    }

    /// Sends `SIGKILL`, which the server cannot handle.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("the server runs");
        self.process.wait().expect("the server was killed");
    }

    /// Starts a killed server again, without its data.
    pub(crate) fn restart(&mut self) {
        self.process = launch(
            &self.program,
            &self.folder,
            self.port,
            (&self.arguments, &self.environment),
        );
        self.wait();
    }

    /// Stops the process, so that connections stay open without responses.
    pub(crate) fn freeze(&self) {
        signal("-STOP", self.process.id());
    }

    pub(crate) fn thaw(&self) {
        signal("-CONT", self.process.id());
    }

    fn wait(&mut self) {
        let client = redis::Client::open(self.url()).expect("the URL is valid");
        let responds = || {
            let mut connection = client.get_connection().ok()?;
            redis::cmd("PING").query::<String>(&mut connection).ok()
        };
        for _ in 0..PATIENCE.as_millis() / 10 {
            if responds().is_some() {
                return;
            }
            pause(Duration::from_millis(10));
        }
        panic!("the server does not respond");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
        fs::remove_dir_all(&self.folder).ok();
    }
}

/// Makes a cluster of these servers, half of them replicas. Returns `None`, and reports that, without redis-cli.
pub(crate) fn make_cluster(nodes: &[String]) -> Option<()> {
    let mut command = Command::new("redis-cli");
    command.args(["--cluster", "create"]).args(nodes);
    command.args(["--cluster-replicas", "1", "--cluster-yes"]);
    match command.output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{text}");
            Some(())
        }
        Err(_) => {
            skip("redis-cli to make a cluster");
            None
        }
    }
}

/// Reports that a test is skipped. The test harness would hide what `eprintln` writes.
pub(crate) fn skip(needs: &str) {
    let name = thread::current();
    let name = name.name().unwrap_or_default();
    writeln!(io::stderr(), "\n== SKIPPED: {name} needs {needs}.\n").ok();
}

/// Sends a signal to a process.
pub(crate) fn signal(name: &str, process: u32) {
    let status = Command::new("kill")
        .arg(name)
        .arg(process.to_string())
        .status();
    assert!(status.expect("kill runs").success());
}

/// Blocks a thread that has nothing else to do.
#[allow(clippy::disallowed_methods)]
pub(crate) fn pause(time: Duration) {
    thread::sleep(time);
}

/// Returns the path of a server that is installed.
fn program() -> Option<PathBuf> {
    if let Some(path) = env::var_os("TOWER_429_REDIS_SERVER") {
        return Some(path.into());
    }
    let folders = env::var_os("PATH")?;
    let paths = env::split_paths(&folders)
        .flat_map(|folder| ["redis-server", "valkey-server"].map(|program| folder.join(program)));
    paths.into_iter().find(|path| path.is_file())
}

/// Returns the path of the library that changes the clock of a program, if it is installed.
fn faketime() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let paths = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    let mut paths = paths.chain(["/usr/lib/faketime/libfaketime.so.1".into()]);
    paths.find(|path| path.is_file())
}

fn set_clock(folder: &Path, seconds: i64) {
    // The file is renamed at once, so the server never reads a part of a number.
    let new = folder.join("clock-new");
    let written = fs::write(&new, format!("{seconds:+}\n"));
    let renamed = written.and_then(|()| fs::rename(new, folder.join(CLOCK)));
    renamed.expect("the folder for temporary files can be written");
}

fn folder() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = env::temp_dir().join(format!("tower-429-redis-{}-{number}", process::id()));
    fs::create_dir_all(&folder).expect("the folder for temporary files can be written");
    folder
}

/// Returns a port that is free now, and that it returns only once. The system gives none of these to a connection.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = process::id().wrapping_mul(97);
    loop {
        let number = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 11_000 + (number % 20_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn launch(
    program: &Path,
    folder: &Path,
    port: u16,
    (arguments, environment): (&[String], &[(&'static str, String)]),
) -> Child {
    Command::new(program)
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(["--port", &port.to_string(), "--daemonize", "no"])
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the server can be started")
}
