//! Errors of the agent's set-up. After the set-up, the agent returns no errors to the service.

use std::{error::Error, fmt, io, path::PathBuf};

/// The reason why an agent could not be built or installed.
///
/// An invalid option value is not an error. It is logged as a warning, and the next source is used. See
/// [`Agent::warnings`](crate::Agent::warnings).
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The file of `server_ca_cert_file` could not be read.
    #[error("server_ca_cert_file={path:?} cannot be read: it must be the path of a PEM file with certificates")]
    CaCertUnreadable {
        /// The path that the option contains.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },

    /// The file of `server_ca_cert_file` contains no usable certificate.
    #[error("server_ca_cert_file={path:?} cannot be used: {reason}; it must contain certificates in PEM format")]
    CaCertInvalid {
        /// The path that the option contains.
        path: PathBuf,
        /// The reason why the content cannot be used.
        reason: String,
    },

    /// The HTTP client for the server could not be created.
    #[error("the HTTP client for the APM Server could not be created")]
    Client {
        /// The error of the client.
        source: Box<dyn Error + Send + Sync>,
    },

    /// The agent's thread could not be started.
    #[error("the thread that sends events to the APM Server could not be started")]
    Thread {
        /// The error of the operating system.
        source: io::Error,
    },

    /// `install()` was called although there is a global `tracing` subscriber.
    #[error(
        "a global tracing subscriber is already set: use `install_without_subscriber()` and add \
         `agent.tracing_layer()` to your subscriber, or let `install()` set the subscriber"
    )]
    SubscriberAlreadySet,

    /// `install()` or `install_without_subscriber()` was called while another agent is installed.
    #[error("an agent is already installed in this process; shut it down first, or use `build()` for a second one")]
    AlreadyInstalled,

    /// The [`log_filter`](crate::AgentBuilder::log_filter) from code is not valid.
    #[error("the log filter {filter:?} is not valid: {reason}; it must be a list such as `info,my_crate=debug`")]
    LogFilter {
        /// The filter from code.
        filter: String,
        /// The reason why the filter is not valid.
        reason: String,
    },
}

/// Prints the message and its causes, because Rust prints the `Debug` output of an error that `main` returns.
impl fmt::Debug for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut source = self.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_error_contains_option_value_and_allowed_values() {
        let source = io::Error::from(io::ErrorKind::NotFound);
        let error = BuildError::CaCertUnreadable { path: "/ca.pem".into(), source };
        assert_eq!(
            error.to_string(),
            r#"server_ca_cert_file="/ca.pem" cannot be read: it must be the path of a PEM file with certificates"#
        );
        assert!(error.source().is_some());
        assert_eq!(format!("{error:?}"), format!("{error}: entity not found"));
    }

    #[test]
    fn build_error_is_send_and_sync() {
        fn travels<T: Send + Sync + 'static>() {}
        travels::<BuildError>();
    }
}
