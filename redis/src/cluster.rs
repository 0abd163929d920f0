//! A cluster. Its client finds the node that has the keys of the pool.

use std::{fmt, time::Duration};

use redis::{ConnectionInfo, cluster::ClusterClient, io::tcp::TcpSettings};

use crate::{
    error::Error,
    link::{Connect, Connecting, Connection},
    server::settings,
};

/// The timeout of the client, which is longer than that of the driver.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(1);

/// How often the client follows a slot that has moved. One that moves is on another node at the second attempt.
const RETRIES: u32 = 3;

/// A cluster, by some of its nodes.
pub(crate) struct Cluster(ClusterClient);

// === impl Cluster ===

impl Cluster {
    pub(crate) fn new<'a>(urls: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        let nodes = urls.into_iter().map(settings);
        let nodes: Vec<ConnectionInfo> = nodes.collect::<Result<_, _>>()?;
        let client = ClusterClient::builder(nodes)
            .tcp_settings(TcpSettings::default().set_nodelay(true))
            .retries(RETRIES)
            .connection_timeout(CLIENT_TIMEOUT)
            .response_timeout(CLIENT_TIMEOUT)
            .build()
            .map_err(|error| Error::url(&error))?;
        Ok(Self(client))
    }
}

impl Connect for Cluster {
    fn connect(&self) -> Connecting {
        let client = self.0.clone();
        Box::pin(async move { Ok(Box::new(client.get_async_connection().await?) as Connection) })
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}
