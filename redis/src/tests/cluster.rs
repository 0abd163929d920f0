//! A cluster of three nodes.

use redis::Connection;

use super::{
    Process, Server,
    access::{add_user, with_user},
    fact,
    support::{PATIENCE, free_port},
    until,
};
use crate::cluster::Cluster;

/// How many slots a cluster has, which every node must know who has.
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
        process.tell(fact(1)).await;
    }
    assert_eq!(processes[0].ask((0, 0), 9, 9).await, (0, 3));
    assert_eq!(processes[1].hear().await.replicas.len(), 3);
    assert_eq!(
        processes[2].ask((0, 0), 9, 9).await,
        (0, 2),
        "a third of six"
    );
}
