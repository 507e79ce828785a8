//! How a development server is set up.

use std::{
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    time::Duration,
};

use super::{auth::Credentials, error::DevServerError, server::DevServer, server_info::VERSION, store::Limits};

/// Options of a [`DevServer`]; all have defaults. [`bind`](Self::bind) starts it.
///
/// ```
/// use tower_apm::devserver::DevServer;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = DevServer::builder().secret_token("hunter2").max_events(1_000).bind("127.0.0.1:0")?;
/// println!("agents send to {}", server.url());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing listens before `bind`"]
pub struct DevServerBuilder {
    pub(super) credentials: Credentials,
    pub(super) limits: Limits,
    pub(super) max_connections: usize,
    pub(super) agent_config_max_age: Duration,
    pub(super) version: String,
    allow_remote: bool,
}

impl Default for DevServerBuilder {
    fn default() -> Self {
        Self {
            credentials: Credentials::default(),
            limits: Limits { events: 10_000, bytes: 64 * 1024 * 1024 },
            max_connections: 256,
            agent_config_max_age: Duration::from_secs(30),
            version: VERSION.to_owned(),
            allow_remote: false,
        }
    }
}

impl DevServerBuilder {
    /// Agents must send `Authorization: Bearer` with this token. Default: none is asked for.
    pub fn secret_token(mut self, token: impl Into<String>) -> Self {
        self.credentials.secret_token = Some(token.into());
        self
    }

    /// Agents must send `Authorization: ApiKey` with this key (base64 of `id:key`, as Elastic hands it out); where a
    /// secret token is set as well, either will do. Default: none is asked for.
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.credentials.api_key = Some(key.into());
        self
    }

    /// How many events are kept, the oldest making room. Default: 10 000; at least 1.
    pub fn max_events(mut self, events: usize) -> Self {
        self.limits.events = events.max(1);
        self
    }

    /// How many bytes of events are kept, roughly. Default: 64 MiB. The newest event is kept whatever its size.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// How many connections are served at a time; more of them wait. Default: 256; at least 1.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections.max(1);
        self
    }

    /// How long agents are told to wait until they ask for central configuration again. Default: 30 s, as the real
    /// server's. Agents wait 5 s at least.
    pub fn agent_config_max_age(mut self, max_age: Duration) -> Self {
        self.agent_config_max_age = max_age;
        self
    }

    /// The version that agents are told; some do a few things in another way for older servers. Empty: none is told,
    /// as a serverless project does. What is taken and how it is judged does not change.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Allows addresses that other machines can reach. Default: false, only loopback is bound.
    ///
    /// What is recorded holds names, addresses and whatever else your requests hold. Where credentials are set, other
    /// machines need them for the JSON interface too. On loopback that interface refuses a request whose `Host` is
    /// neither `localhost` nor a loopback address, so that no web page reads it by a name of its own.
    pub fn allow_remote(mut self, allow: bool) -> Self {
        self.allow_remote = allow;
        self
    }

    /// Listens on `HOST:PORT` and serves from a thread of its own. Port 0 takes a free one, see
    /// [`url`](DevServer::url).
    ///
    /// # Errors
    /// The address cannot be resolved, is not loopback and not allowed, is taken, or no thread can be had.
    pub fn bind(self, address: impl AsRef<str>) -> Result<DevServer, DevServerError> {
        let address = address.as_ref();
        let resolved: Vec<SocketAddr> = address
            .to_socket_addrs()
            .map_err(|source| DevServerError::Address { address: address.to_owned(), source })?
            .collect();
        if !self.allow_remote
            && let Some(remote) = resolved.iter().find(|resolved| !resolved.ip().to_canonical().is_loopback())
        {
            return Err(DevServerError::NotLoopback { address: *remote });
        }
        let failed = |source| DevServerError::Bind { address: address.to_owned(), source };
        let listener = TcpListener::bind(&resolved[..]).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        DevServer::start(listener, self)
    }
}
