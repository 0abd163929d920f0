//! A cluster of three nodes, with and without replicas.

use redis::Connection;
use tower_429::share::{ExchangeResponse, Grant, LeaseRequest, LimitRequest, Unit};

use super::{
    HOUR, LIMIT, Process, Server,
    access::{add_user, with_user},
    fact,
    facts::closed_for,
    support::{PATIENCE, free_port, make_cluster},
    until,
};
use crate::cluster::Cluster;

/// The number of slots of a cluster. All of them must be assigned.
const SLOTS: u16 = 16_384;

fn cluster(admin: &mut Connection, arguments: &[&str]) -> String {
    let mut command = redis::cmd("CLUSTER");
    arguments.iter().for_each(|it| {
        command.arg(it);
    });
    command.query(admin).expect("it is allowed")
}

/// Starts three nodes that divide the slots.
async fn start() -> Option<[Server; 3]> {
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let bus = free_port().to_string();
        let arguments = ["--cluster-enabled", "yes", "--cluster-port", &bus];
        nodes.push((Server::start_with(&arguments)?, bus));
    }
    for (index, (node, _)) in (0..).zip(&nodes) {
        let mut admin = node.admin();
        let slots = [index * SLOTS / 3, (index + 1) * SLOTS / 3 - 1];
        let [from, to] = slots.map(|slot| slot.to_string());
        cluster(&mut admin, &["ADDSLOTSRANGE", &from, &to]);
        for (other, bus) in &nodes {
            cluster(
                &mut admin,
                &["MEET", "127.0.0.1", &other.port().to_string(), bus],
            );
        }
    }
    let is_whole = async || {
        nodes.iter().all(|(node, _)| {
            let info = cluster(&mut node.admin(), &["INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        })
    };
    assert!(
        until(PATIENCE, is_whole).await,
        "the nodes do not find each other"
    );
    nodes
        .into_iter()
        .map(|(node, _)| node)
        .collect::<Vec<_>>()
        .try_into()
        .ok()
}

#[tokio::test]
async fn processes_of_a_cluster_share_whatever_node_they_know() {
    let Some(nodes) = start().await else {
        return;
    };
    for node in &nodes {
        add_user(&mut node.admin(), "+cluster|slots");
    }
    let mut processes: Vec<_> = (1..)
        .zip(&nodes)
        .map(|(id, node)| {
            let url = with_user(&node.url(), "app:secret");
            let server = Cluster::new([url.as_str()]).expect("the URL is valid");
            Process::with(Box::new(server), "prod/openai", id)
        })
        .collect();
    for process in &mut processes {
        process.publish(fact(1)).await;
    }
    assert_eq!(processes[0].lease((0, 0), 9, 9).await, (0, 3));
    assert_eq!(processes[1].receive().await.replicas.len(), 3);
    assert_eq!(
        processes[2].lease((0, 0), 9, 9).await,
        (0, 2),
        "a third of six"
    );
}

/// Starts three nodes and a replica of each, which takes over if its node fails.
async fn start_with_replicas() -> Option<Vec<Server>> {
    let mut nodes = Vec::new();
    let mut addresses = Vec::new();
    for _ in 0..6 {
        let bus = free_port().to_string();
        let arguments = ["--cluster-enabled", "yes", "--cluster-port", &bus];
        let times = [
            "--cluster-node-timeout",
            "500",
            "--repl-diskless-sync-delay",
            "0",
        ];
        let node = Server::start_with(&[arguments, times].concat())?;
        addresses.push(format!("127.0.0.1:{}@{bus}", node.port()));
        nodes.push(node);
    }
    make_cluster(&addresses)?;
    let is_whole = async || {
        nodes.iter().all(|node| {
            let admin = &mut node.admin();
            let role = redis::cmd("INFO").arg("replication").query::<String>(admin);
            let role = role.expect("it is allowed");
            let has_replica = role.contains("role:master") && role.contains("state=online");
            let is_whole = cluster(admin, &["INFO"]).contains("cluster_state:ok");
            is_whole && (has_replica || role.contains("master_link_status:up"))
        })
    };
    assert!(until(PATIENCE, is_whole).await, "no node has a replica");
    Some(nodes)
}

/// Returns a number from the replication section of a node.
fn replication(node: &Server, name: &str) -> Option<i64> {
    let text = redis::cmd("INFO")
        .arg("replication")
        .query::<String>(&mut node.admin());
    let text = text.expect("it is allowed");
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.parse().ok())
}

/// Sends a request until there is a response. On a loaded machine, nodes may count each other as failed.
async fn exchange(process: &mut Process, limits: Vec<LimitRequest>) -> ExchangeResponse {
    let mut response = None;
    let responds = until(PATIENCE, async || {
        let request = process.request(limits.clone());
        response = process.try_exchange(request).await;
        response.is_some()
    });
    assert!(responds.await, "no node responds");
    let response = response.expect("there is one");
    (process.epoch, process.newest_fact) = (Some(response.epoch), response.newest_fact);
    response
}

#[tokio::test]
async fn processes_share_again_after_a_replica_took_over() {
    let Some(mut nodes) = start_with_replicas().await else {
        return;
    };
    let urls: Vec<_> = nodes.iter().map(Server::url).collect();
    let process = |id| {
        let server = Cluster::new(urls.iter().map(String::as_str)).expect("the URLs are valid");
        Process::with(Box::new(server), "prod/openai", id)
    };
    let [mut one, mut other, mut third] = [1, 2, 3].map(process);
    let fact = LimitRequest::new(LIMIT, Some(closed_for(1, HOUR)), Vec::new());
    exchange(&mut one, vec![fact]).await;
    let epoch = exchange(&mut other, Vec::new()).await.epoch;
    let has_pool = |node: &Server| {
        let mut admin = node.admin();
        let role = redis::cmd("ROLE").query::<Vec<redis::Value>>(&mut admin);
        let is_replica = role.is_ok_and(|it| it[0] == redis::Value::BulkString(b"slave".into()));
        let keys = redis::cmd("DBSIZE").query::<u64>(&mut admin);
        !is_replica && keys.is_ok_and(|count| count > 0)
    };
    let index = nodes.iter().position(has_pool).expect("one has the pool");
    let written = replication(&nodes[index], "master_repl_offset:");
    let port = i64::from(nodes[index].port());
    let has_all = async || {
        nodes.iter().any(|node| {
            let is_replica = replication(node, "master_port:") == Some(port);
            is_replica && replication(node, "slave_repl_offset:") >= written
        })
    };
    assert!(until(PATIENCE, has_all).await, "no replica has the pool");
    nodes[index].kill();
    nodes.remove(index);
    let has_masters = async || {
        nodes.iter().all(|node| {
            let text = cluster(&mut node.admin(), &["NODES"]);
            let lines = text.lines().filter(|line| !line.contains("fail"));
            lines.filter(|line| line.contains("master")).count() == 3
        })
    };
    assert!(until(PATIENCE, has_masters).await, "no replica took over");
    assert_eq!(exchange(&mut one, Vec::new()).await.epoch, epoch);
    exchange(&mut other, Vec::new()).await;
    let response = exchange(&mut third, Vec::new()).await;
    assert_eq!(response.limits[0].facts.len(), 1);
    let wants = LeaseRequest::new((0, 0), 9).want(9, 1);
    let wants = LimitRequest::new(LIMIT, None, vec![(Unit::Requests, wants)]);
    for (process, part) in [(&mut one, 3), (&mut other, 2)] {
        let granted = exchange(process, vec![wants.clone()]).await;
        let expected = (Unit::Requests, Grant::new(0, part));
        assert_eq!(granted.limits[0].grants, [expected], "a third of the rest");
    }
}
