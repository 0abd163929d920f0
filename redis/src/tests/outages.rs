//! A server that is killed, frozen or unreachable.

use std::time::Duration;

use redis::Connection;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tower_429::share::{Engine, ExchangeRequest, ExchangeResponse, HOLDS_FOR};

use super::{LIMIT, Process, Server, access::add_user, support::PATIENCE, until};

/// The timeout of the driver.
const TIMEOUT: Duration = Duration::from_millis(100);

impl Process {
    pub(super) async fn try_exchange(
        &mut self,
        request: ExchangeRequest,
    ) -> Option<ExchangeResponse> {
        timeout(TIMEOUT, self.engine.exchange(request))
            .await
            .ok()?
            .ok()
    }

    /// Makes exchanges as the driver does until one succeeds.
    async fn reconnect(&mut self) -> bool {
        until(PATIENCE, async || {
            let request = self.request(Vec::new());
            self.try_exchange(request).await.is_some()
        })
        .await
    }
}

#[tokio::test]
async fn process_reconnects_to_a_server_that_was_killed() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let mut one = Process::new(&server.url(), 1);
    let first = one.receive().await.epoch;
    server.kill();
    for _ in 0..20 {
        let request = one.request(Vec::new());
        assert!(one.try_exchange(request).await.is_none());
    }
    server.restart();
    assert!(one.reconnect().await, "it never reconnected");
    assert_ne!(
        one.receive().await.epoch,
        first,
        "the server has lost everything"
    );
}

#[tokio::test]
async fn grant_that_is_made_after_its_timeout_goes_back() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url();
    let (mut one, mut other) = (Process::new(&url, 1), Process::new(&url, 2));
    one.receive().await;
    other.receive().await;
    server.freeze();
    for wanted in [4, 6] {
        let request = one.request_lease((0, 0), wanted, 10);
        assert!(one.try_exchange(request).await.is_none());
    }
    server.thaw();
    let made = until(PATIENCE, async || {
        // Half of what is free is granted to a process that wants all. It then returns that.
        let (_, granted) = other.lease((0, 0), 10, 10).await;
        other.lease((0, 0), 0, 10).await;
        granted < 5
    });
    assert!(made.await, "the grant was not made");
    assert_eq!(one.lease((0, 0), 0, 10).await, (0, 0));
    assert_eq!(other.lease((0, 0), 10, 10).await, (0, 5), "half of all");
}

/// Returns how many requests the server has counted as used, and how many all processes hold.
fn noted(admin: &mut Connection) -> (u64, u64) {
    let requests = [&LIMIT.to_bytes()[..], b"1"].concat();
    let mut command = redis::cmd("HGET");
    command.arg("t429:1:{prod/openai}").arg(requests);
    let noted: Vec<u8> = command.query(admin).expect("the limit is known");
    let number = |from: usize| {
        let bytes = noted[from..].first_chunk().expect("it has a head");
        u64::from_be_bytes(*bytes)
    };
    (number(0), number(16))
}

#[tokio::test]
async fn grants_that_are_made_after_their_timeout_never_exceed_the_ceiling() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut admin = server.admin();
    let mut processes = [1, 2, 3].map(|id| (Process::new(&server.url(), id), 0_u64, 0_u64));
    let mut random = fastrand::Rng::with_seed(429);
    let (mut late, mut ceiling) = (0, 10);
    for round in 0..40 {
        let is_frozen = round % 4 == 3;
        if is_frozen {
            server.freeze();
        }
        for (process, held, used) in &mut processes {
            let ended = random.u64(0..=*held);
            (*held, *used) = (*held - ended, *used + ended);
            let request = process.request_lease((*held, *used), random.u64(0..9), ceiling);
            match process.try_exchange(request).await {
                Some(response) => {
                    (process.epoch, process.newest_fact) =
                        (Some(response.epoch), response.newest_fact);
                    let [(_, grant)] = &response.limits[0].grants[..] else {
                        panic!("one unit was requested: {response:?}");
                    };
                    *held += grant.granted;
                }
                None => late += 1,
            }
        }
        if is_frozen {
            server.thaw();
        }
        let sum = |of: fn(&(Process, u64, u64)) -> u64| processes.iter().map(of).sum::<u64>();
        let (held, used) = (sum(|it| it.1), sum(|it| it.2));
        let (noted_used, noted_held) = noted(&mut admin);
        assert!(held + used <= ceiling, "round {round}: {held} and {used}");
        assert!(noted_used + noted_held <= ceiling, "round {round}");
        // The provider has more, as in the next window.
        ceiling = used + random.u64(held..=held + 10);
    }
    assert!(late >= 30, "{late} exchanges without a response");
}

#[tokio::test]
async fn room_of_a_process_that_is_killed_is_back_after_two_seconds() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut admin = server.admin();
    let url = server.url();
    let (mut one, mut other) = (Process::new(&url, 1), Process::new(&url, 2));
    let mut time = || {
        let time: (u64, u64) = redis::cmd("TIME").query(&mut admin).expect("it is allowed");
        Duration::from_secs(time.0) + Duration::from_micros(time.1)
    };
    let from = time();
    assert_eq!(one.lease((10, 0), 0, 10).await, (0, 0));
    let to = time();
    drop(one);
    let mut granted = 0;
    let freed = until(PATIENCE, async || {
        let before = time();
        granted = other.lease((0, 0), 4, 10).await.1;
        assert!(
            granted == 0 || time() >= from + HOLDS_FOR,
            "it is too early"
        );
        assert!(granted > 0 || before < to + HOLDS_FOR, "it is too late");
        granted > 0
    });
    assert!(freed.await, "its places never came back");
    assert_eq!(granted, 4);
}

/// Returns a URL of the server by way of a relay that reads nothing from its first connection, as if a cable had been
/// cut.
async fn relay(server: &Server, user: &str) -> String {
    let address = server.url().replace("redis://", "");
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        let first = listener.accept().await;
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(&address).await.expect("the server runs");
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
        }
        drop(first);
    });
    format!("redis://{user}127.0.0.1:{port}")
}

#[tokio::test]
async fn connection_without_a_response_is_closed() {
    let Some(server) = Server::start() else {
        return;
    };
    add_user(&mut server.admin(), "");
    // The client logs in as a part of connecting, and without a user it does not.
    for (id, user) in [(1, ""), (2, "app:secret@")] {
        let mut process = Process::new(&relay(&server, user).await, id);
        let request = process.request(Vec::new());
        assert!(process.try_exchange(request).await.is_none());
        assert!(
            process.reconnect().await,
            "it waits for the first connection"
        );
    }
}

/// Returns how many connections the server has accepted.
fn connections(admin: &mut Connection) -> u64 {
    let stats: String = redis::cmd("INFO")
        .arg("stats")
        .query(admin)
        .expect("it is allowed");
    let count = stats.lines().find_map(|line| {
        let count = line.strip_prefix("total_connections_received:")?;
        count.parse().ok()
    });
    count.expect("the server counts them")
}

#[tokio::test]
async fn server_that_became_a_replica_is_left_for_another_connection() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut admin = server.admin();
    let before = connections(&mut admin) + 1;
    let mut follow = |whom: [&str; 2]| {
        let mut command = redis::cmd("REPLICAOF");
        command.arg(&whom).exec(&mut admin).expect("it is allowed");
    };
    let mut one = Process::new(&server.url(), 1);
    one.receive().await;
    follow(["127.0.0.1", "1"]);
    let request = one.request(Vec::new());
    assert!(one.try_exchange(request).await.is_none());
    follow(["NO", "ONE"]);
    assert!(one.reconnect().await, "it never reconnected");
    assert_eq!(
        connections(&mut server.admin()),
        before + 2,
        "the process and this one"
    );
}

#[tokio::test]
async fn server_that_cannot_be_reached_fails_no_start() {
    let mut one = Process::new("redis://127.0.0.1:1", 1);
    let request = one.request(Vec::new());
    assert!(one.try_exchange(request).await.is_none());
}
