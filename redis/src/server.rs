//! The server that a URL names.

use std::fmt;

use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo,
    io::tcp::TcpSettings,
};

use crate::{
    error::Error,
    link::{Connect, Connecting, Connection},
};

/// A server.
pub(crate) struct OneServer(Client);

// === impl OneServer ===

impl OneServer {
    pub(crate) fn new(url: &str) -> Result<Self, Error> {
        let client = Client::open(settings(url)?).map_err(|error| Error::url(&error))?;
        Ok(Self(client))
    }
}

impl Connect for OneServer {
    fn connect(&self) -> Connecting {
        let client = self.0.clone();
        Box::pin(async move {
            // The driver and the link have their own timeouts.
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(None)
                .set_response_timeout(None);
            let connection = client.get_multiplexed_async_connection_with_config(&config);
            Ok(Box::new(connection.await?) as Connection)
        })
    }
}

impl fmt::Debug for OneServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneServer").finish_non_exhaustive()
    }
}

/// Returns the settings in a URL, without `CLIENT SETINFO`, which a user of the server may not be allowed to send.
pub(crate) fn settings(url: &str) -> Result<ConnectionInfo, Error> {
    let info = url
        .into_connection_info()
        .map_err(|error| Error::url(&error))?;
    #[cfg(feature = "tls")]
    if matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. }) {
        use rustls::crypto::{CryptoProvider, ring};

        // Without a provider, the client panics if the program has built several in.
        if CryptoProvider::get_default().is_none() {
            // If another thread has installed one meanwhile, that one is used.
            ring::default_provider().install_default().ok();
        }
    }
    let redis: RedisConnectionInfo = info.redis_settings().clone().set_skip_set_lib_name();
    let tcp = TcpSettings::default().set_nodelay(true);
    Ok(info.set_redis_settings(redis).set_tcp_settings(tcp))
}
