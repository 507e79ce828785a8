#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    #[error("{0}")]
    Thread(std::io::Error),
    #[error("{value} {reason}")]
    LogFilter { value: String, reason: String },
    #[error("set")]
    SubscriberIsSet,
}
