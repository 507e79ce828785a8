//! `fmt::init()` of tracing-subscriber.
//!
//! With the feature `env-filter` it prints no INFO lines, and with `ansi` it prints colours.

fn main() {
    tracing_subscriber::fmt::init();
    tracing::info!("a line at the default level");
    tracing::debug!("a line below it");
}
