//! How a development server is set up.

use std::{
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    time::Duration,
};

use super::{
    auth::Credentials, error::DevServerError, origin::Hosts, serve::ConnectionLimits, server::DevServer,
    server_info::VERSION, store::Limits,
};

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
    pub(super) connections: ConnectionLimits,
    /// Bytes.
    pub(super) memory: usize,
    pub(super) hosts: Hosts,
    pub(super) agent_config_max_age: Duration,
    pub(super) version: String,
}

impl Default for DevServerBuilder {
    fn default() -> Self {
        Self {
            credentials: Credentials::default(),
            limits: Limits { events: 10_000, bytes: 64 * 1024 * 1024 },
            connections: ConnectionLimits {
                connections: 256,
                head_timeout: Duration::from_secs(10),
                body_timeout: Duration::from_secs(30),
            },
            memory: 128 * 1024 * 1024,
            hosts: Hosts::default(),
            agent_config_max_age: Duration::from_secs(30),
            version: VERSION.to_owned(),
        }
    }
}

impl DevServerBuilder {
    /// Requires `Authorization: Bearer` with this token from every client, even on this machine. Default: no token.
    ///
    /// Without the token the server returns only the status of `GET /`, and the web page without data. The web page asks
    /// the user for the token.
    pub fn secret_token(mut self, token: impl Into<String>) -> Self {
        self.credentials.secret_token = Some(token.into());
        self
    }

    /// Requires `Authorization: ApiKey` with this key from every client. Default: no key.
    ///
    /// The key is the Base64 form of `id:key`, as Elastic issues it. If a secret token is set too, either is accepted.
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

    /// Sets how many connections are served at a time. Default: 256, at least 1.
    ///
    /// When the limit is reached, a new connection replaces the connection that has been idle for the longest time. If no
    /// connection is idle, it replaces the one with the oldest request, once that request has taken 2 s.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.connections.connections = connections.max(1);
        self
    }

    /// Sets how many bytes all unfinished requests and answers may take together. Default: 128 MiB.
    ///
    /// These bytes include intake lines, OTLP messages before and after decoding, decompressors, and answers that are
    /// being written. A request beyond the limit is answered with 503 and `Retry-After` (gRPC: `RESOURCE_EXHAUSTED`). An
    /// answer beyond the limit is truncated. In addition, every connection may take 128 KiB, so that small requests are
    /// always served. Stored events are limited by [`max_bytes`](Self::max_bytes).
    pub fn max_unfinished_bytes(mut self, bytes: usize) -> Self {
        self.memory = bytes;
        self
    }

    /// Sets how long the head of a request may take, from its first byte to its last. Default: 10 s.
    ///
    /// A connection that takes longer is closed. An idle connection is closed after 75 s.
    pub fn head_timeout(mut self, timeout: Duration) -> Self {
        self.connections.head_timeout = timeout;
        self
    }

    /// Sets how long the body of a request may take. Default: 30 s, like `read_timeout` of the real server.
    ///
    /// Every 64 KiB that arrive extend this time by one second. A slower body is answered with 503. Agents keep a request
    /// open for 10 s.
    pub fn body_timeout(mut self, timeout: Duration) -> Self {
        self.connections.body_timeout = timeout;
        self
    }

    /// Sets the interval in which agents request central configuration. The default is 30 s, like that of the real server.
    /// Agents wait at least 5 s.
    pub fn agent_config_max_age(mut self, max_age: Duration) -> Self {
        self.agent_config_max_age = max_age;
        self
    }

    /// Sets the version that the server reports. Some agents behave differently with older servers. If the text is empty, the
    /// server reports no version, like a serverless project. The version does not change which events the server accepts.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Allows addresses that other machines can reach. Default: `false`, which allows loopback addresses only.
    ///
    /// Events contain names, addresses and other data of your requests. Without
    /// [`secret_token`](Self::secret_token) or [`api_key`](Self::api_key), every client that reaches the address can read
    /// and delete the events.
    pub fn allow_remote(mut self, allow: bool) -> Self {
        self.hosts.remote = allow;
        self
    }

    /// Allows a host name, without a port, in the `Host` header of requests. Can be called several times.
    ///
    /// A web page can point its own host name to this server (DNS rebinding) and then read from the server. Requests for
    /// an unknown name are therefore answered with 403. `localhost`, loopback addresses, names without a dot
    /// (`devserver`) and names in `.localhost` and `.internal` are always allowed. If the server is bound to an address
    /// that other machines can reach, every IP address is allowed too.
    pub fn allow_host(mut self, name: impl Into<String>) -> Self {
        self.hosts.allowed.push(name.into());
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
        if !self.hosts.remote
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
