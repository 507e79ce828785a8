//! Why a development server could not start.

use std::{io, net::SocketAddr};

/// Why [`DevServer::bind`](super::DevServer::bind) failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DevServerError {
    /// The address could not be read or resolved.
    #[error("`{address}` is no address to listen on ({source}); give HOST:PORT, for example 127.0.0.1:8200")]
    Address {
        /// As it was given.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// Other machines could reach the address, and `allow_remote` is off.
    #[error(
        "refusing to listen on {address}: other machines could read and write what is recorded; \
         give a loopback address such as 127.0.0.1:{}, or allow it with allow_remote(true)", .address.port()
    )]
    NotLoopback {
        /// As it was resolved.
        address: SocketAddr,
    },
    /// The system refused the address: most often something else listens there.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// As it was given.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// No thread or no runtime could be had.
    #[error("cannot start the development server's thread: {0}")]
    Start(io::Error),
}
