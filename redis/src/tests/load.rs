//! What an exchange costs the server.

use redis::Connection;
use tower_429::share::{Id, LeaseRequest, LimitRequest, Unit};

use super::{Process, Server, fact};

/// The requests of the processes in each exchange.
#[derive(Clone, Copy)]
struct Load {
    processes: u8,
    limits: u8,
    has_facts: bool,
}

const ROUNDS: u64 = 500;

// === impl Load ===

impl Load {
    fn limits(self, round: u64) -> Vec<LimitRequest> {
        let request = LeaseRequest::new((1, round), 1_000_000).want(1, 1);
        let limit = |id| {
            let fact = self.has_facts.then(|| fact(round));
            LimitRequest::new(
                Id::from_bytes([id; 16]),
                fact,
                vec![(Unit::Requests, request)],
            )
        };
        (21..21 + self.limits).map(limit).collect()
    }

    /// Prints what an exchange costs: the time of the command, and the CPU time of the whole process of the server.
    async fn measure(self) {
        let Some(server) = Server::start() else {
            return;
        };
        let mut processes: Vec<_> = (1..=self.processes)
            .map(|id| Process::new(&server.url(), id))
            .collect();
        for process in &mut processes {
            process.receive().await;
        }
        let mut admin = server.admin();
        let reset = redis::cmd("CONFIG").arg("RESETSTAT").exec(&mut admin);
        reset.expect("it is allowed");
        let before = cpu(&mut admin);
        for round in 1..=ROUNDS {
            for process in &mut processes {
                let request = process.request(self.limits(round));
                process.exchange(request).await;
            }
        }
        let used = cpu(&mut admin) - before;
        let exchanges = ROUNDS as f64 * f64::from(self.processes);
        println!(
            "P={} limits={} facts={}: {} us by INFO commandstats, {:.0} us of CPU time",
            self.processes,
            self.limits,
            self.has_facts,
            value(
                &mut admin,
                "commandstats",
                "cmdstat_eval:",
                "usec_per_call="
            ),
            used * 1e6 / exchanges
        );
    }
}

/// Returns the seconds of CPU time that the server has used.
fn cpu(admin: &mut Connection) -> f64 {
    let user = value(admin, "cpu", "used_cpu_user:", ":");
    user + value(admin, "cpu", "used_cpu_sys:", ":")
}

/// Returns the number after a name, in the line of a section of `INFO` that begins so.
fn value(admin: &mut Connection, section: &str, line: &str, name: &str) -> f64 {
    let text = redis::cmd("INFO").arg(section).query::<String>(admin);
    let text = text.expect("it is allowed");
    let line = text.lines().find(|it| it.starts_with(line));
    let value = line.and_then(|line| line.split(name).nth(1)?.split(',').next()?.parse().ok());
    value.expect("the server states it")
}

#[tokio::test]
#[ignore = "it measures"]
async fn cost_of_an_exchange() {
    for processes in [1, 4, 16] {
        for (limits, has_facts) in [
            (0, false),
            (1, false),
            (2, false),
            (4, false),
            (1, true),
            (2, true),
            (4, true),
        ] {
            let load = Load {
                processes,
                limits,
                has_facts,
            };
            load.measure().await;
        }
    }
}
