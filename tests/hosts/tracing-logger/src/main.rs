//! tracing-subscriber without `tracing-log`. With that feature `init()` sets a logger too, and fails where there is one.

use log::{LevelFilter, Log, Metadata, Record};
use tracing_subscriber::util::SubscriberInitExt;

struct Logger;

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        println!("{} {}", record.level(), record.args());
    }

    fn flush(&self) {}
}

fn main() {
    log::set_logger(&Logger).unwrap();
    log::set_max_level(LevelFilter::Info);
    tracing_subscriber::registry().init();
    log::info!("the service's own logger has this line");
}
