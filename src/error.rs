//! What can fail while an agent is set up. Nothing fails afterwards: telemetry never breaks its host.

use std::{error::Error, fmt, io, path::PathBuf};

/// Why an agent could not be built or installed.
///
/// An option with a value that is not allowed is no such reason: it is named in a warning, and the next source or the
/// default is used.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The file of `server_ca_cert_file` could not be read.
    #[error("server_ca_cert_file={path:?} cannot be read; it must name a PEM file with certificates")]
    CaCertUnreadable {
        /// As it was given.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },

    /// The file of `server_ca_cert_file` was read, but there is no usable certificate in it.
    #[error("server_ca_cert_file={path:?} is not usable: {reason}; it must hold certificates in PEM form")]
    CaCertInvalid {
        /// As it was given.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// The HTTP client that talks to the server could not be made.
    #[error("the HTTP client for the APM Server could not be made")]
    Client {
        /// What the client says.
        source: Box<dyn Error + Send + Sync>,
    },

    /// The thread that sends could not be started.
    #[error("the thread that sends to the APM Server could not be started")]
    Thread {
        /// What the operating system says.
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

    /// The filter for log lines that code gave to `install()` is not one.
    #[error("the log filter {filter:?} is not valid: {reason}; it must be a list such as `info,my_crate=debug`")]
    LogFilter {
        /// As it was given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The sentence and its causes: it is what a `main` that returns the error shows.
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
            r#"server_ca_cert_file="/ca.pem" cannot be read; it must name a PEM file with certificates"#
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
