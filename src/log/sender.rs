//! Log lines on their way to the server.

use std::sync::Arc;

use tracing::{Event, Subscriber};
use tracing_subscriber::{Layer, layer, registry::LookupSpan};

use super::line::record_of;
use crate::{capture::is_suppressed, record::is_nested, transaction::Recorder};

/// Offers each event that it sees to the agent's queue while `log_sending` is on.
#[derive(Debug)]
pub(crate) struct LogSender {
    recorder: Arc<Recorder>,
}

impl LogSender {
    pub(crate) fn new(recorder: Arc<Recorder>) -> Self {
        Self { recorder }
    }

    fn is_on(&self) -> bool {
        let config = self.recorder.config();
        config.log_sending
            && !config.context_propagation_only
            && !config.sends_spans_only()
            && self.recorder.is_recording()
    }
}

impl<S> Layer<S> for LogSender
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        // what the agent's own HTTP client says would never come to an end
        if self.is_on() && !is_suppressed() && !is_nested() {
            let mut record = record_of(event, &self.recorder);
            let max_characters = self.recorder.config().long_field_max_length;
            record.shorten(max_characters);
            self.recorder.log(Box::new(record));
        }
    }
}
