//! What an exchange costs the server.

use tower_429::share::{Id, LeaseRequest, LimitRequest, Unit};

use super::{Process, Server, fact};

async fn run(count: u8, with_facts: bool, limits: u8) {
    let Some(server) = Server::start() else {
        return;
    };
    let mut processes: Vec<_> = (1..=count)
        .map(|id| Process::new(&server.url(), id))
        .collect();
    for process in &mut processes {
        process.hear().await;
    }
    let mut admin = server.admin();
    let cpu = |admin: &mut redis::Connection| {
        let stats: String = redis::cmd("INFO")
            .arg("cpu")
            .query(admin)
            .expect("it is allowed");
        let of = |name: &str| -> f64 {
            let line = stats.lines().find(|line| line.starts_with(name)).unwrap();
            line.split(':').nth(1).unwrap().parse().unwrap()
        };
        of("used_cpu_user:") + of("used_cpu_sys:")
    };
    let before = cpu(&mut admin);
    for round in 1..200 {
        for process in &mut processes {
            let limits: Vec<_> = (21..21 + limits)
                .map(|id| {
                    LimitRequest::new(
                        Id::from_bytes([id; 16]),
                        with_facts.then(|| fact(round)),
                        vec![(
                            Unit::Requests,
                            LeaseRequest::new((1, round), 1_000_000).want(1, 1),
                        )],
                    )
                })
                .collect();
            let say = process.say(limits);
            process.exchange(say).await;
        }
    }
    let used = cpu(&mut admin) - before;
    println!(
        "P={count} facts={with_facts} limits={limits}: {:.0} us of CPU",
        used * 1e6 / (199.0 * f64::from(count))
    );
}

#[tokio::test]
#[ignore = "it measures"]
async fn cost_of_an_exchange() {
    run(1, false, 0).await;
    run(16, false, 0).await;
    run(1, false, 4).await;
    run(4, false, 4).await;
    run(16, false, 4).await;
    run(4, true, 4).await;
    run(16, true, 1).await;
    run(16, true, 4).await;
}
