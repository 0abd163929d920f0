//! Users with restricted rights, and both versions of the protocol.

use redis::Connection;

use tower_429::share::Engine;

use super::{Process, Server};

/// The rights in the README.
const RIGHTS: &str =
    "-@all +eval +time +hget +hmget +hset +hdel +zadd +zscore +zrangebyscore +zrem +pexpire +del";

/// Adds a user who may use this pool only.
pub(super) fn add_user(admin: &mut Connection, extra: &str) {
    let mut command = redis::cmd("ACL");
    command.arg("SETUSER").arg("app").arg("on").arg(">secret");
    command.arg("~t429:1:{prod/openai}*");
    for right in RIGHTS.split(' ').chain(extra.split_whitespace()) {
        command.arg(right);
    }
    command.exec(admin).expect("it is allowed");
}

pub(super) fn with_user(url: &str, user: &str) -> String {
    url.replace("redis://", &format!("redis://{user}@"))
}

/// Returns the line of `INFO` that counts the commands the server has refused.
fn errors(admin: &mut Connection) -> Option<String> {
    let stats = redis::cmd("INFO").arg("stats").query::<String>(admin);
    let stats = stats.expect("it is allowed");
    let line = stats
        .lines()
        .find(|line| line.starts_with("total_error_replies"));
    line.map(str::to_owned)
}

#[tokio::test]
async fn user_with_the_rights_in_the_readme_can_share_and_nothing_else() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut admin = server.admin();
    add_user(&mut admin, "");
    let before = errors(&mut admin);
    let url = with_user(&server.url(), "app:secret");
    assert!(include_str!("../../README.md").contains(RIGHTS));
    let mut one = Process::new(&url, 1);
    assert_eq!(one.lease((0, 0), 8, 10).await, (0, 8));
    one.publish(super::fact(1)).await;
    assert_eq!(
        errors(&mut admin),
        before,
        "it has tried what it may not do"
    );
    let client = redis::Client::open(url).expect("it is valid");
    let mut user = client.get_connection().expect("the password is right");
    let elsewhere = "return redis.call('HSET', KEYS[1], 'a', 'b')";
    for command in [
        &["GET", "t429:1:{prod/openai}"][..],
        &["HGET", "t429:1:{other}", "epoch"],
        &["EVAL", elsewhere, "1", "t429:1:{other}"],
        &["SCRIPT", "FLUSH"],
        &["FLUSHALL"],
        &["KEYS", "*"],
    ] {
        let mut refused = redis::cmd(command[0]);
        command[1..].iter().for_each(|arg| {
            refused.arg(arg);
        });
        let error = refused.exec(&mut user).expect_err("it is refused");
        assert!(
            error.to_string().contains("NOPERM") || error.to_string().contains("ermission"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn script_commands_are_not_needed() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut admin = server.admin();
    let mut one = Process::new(&server.url(), 1);
    one.receive().await;
    redis::cmd("SCRIPT")
        .arg("FLUSH")
        .exec(&mut admin)
        .expect("it is allowed");
    one.receive().await;
    let stats: String = redis::cmd("INFO")
        .arg("commandstats")
        .query(&mut admin)
        .expect("it is allowed");
    assert!(stats.contains("cmdstat_eval:calls=2,"), "{stats}");
    assert!(
        !stats.contains("cmdstat_evalsha") && !stats.contains("cmdstat_script|load"),
        "{stats}"
    );
}

#[tokio::test]
async fn both_versions_of_the_protocol_work_side_by_side() {
    let Some(server) = Server::start() else {
        return;
    };
    let newer = format!("{}/?protocol=resp3", server.url());
    let (mut one, mut other) = (Process::new(&server.url(), 1), Process::new(&newer, 2));
    assert_eq!(one.lease((0, 0), 4, 10).await, (0, 4));
    one.publish(super::fact(3)).await;
    let response = other.receive().await;
    assert_eq!(response.limits[0].facts[0].1.version, 3);
    assert_eq!(response.replicas.len(), 2);
}

#[tokio::test]
async fn pools_with_other_names_share_nothing() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url();
    let (mut one, mut other) = (Process::new(&url, 1), Process::of("prod/other", &url, 2));
    one.lease((10, 0), 0, 10).await;
    one.publish(super::fact(1)).await;
    assert_eq!(other.lease((0, 0), 10, 10).await, (0, 10));
    assert!(other.receive().await.limits.is_empty());
}

#[tokio::test]
async fn error_states_why_a_user_is_refused_and_contains_no_secret() {
    let Some(server) = Server::start() else {
        return;
    };
    add_user(&mut server.admin(), "-eval");
    for (user, why) in [
        ("app:secret", "NOPERM"),
        ("app:wrong-secret", "uthentication failed"),
    ] {
        let mut process = Process::new(&with_user(&server.url(), user), 1);
        let request = process.request(Vec::new());
        let error = process.engine.exchange(request).await;
        let error = error.expect_err("it is refused").to_string();
        assert!(error.contains(why) && !error.contains("secret"), "{error}");
    }
}
