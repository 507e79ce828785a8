//! Everything that this service does to be observed is set up here.

use tracing_subscriber::EnvFilter;

/// Prints log lines as `RUST_LOG` asks for; unless it is set, `info`, and of the database driver only warnings.
pub fn install() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn"));
    tracing_subscriber::fmt().with_env_filter(filter).init();
}
