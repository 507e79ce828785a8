//! The fields of a `tracing` event.

use std::{borrow::Cow, error::Error, fmt};

use tracing::{
    Metadata,
    field::{Field, Visit},
};

use crate::{
    record::{Exception, Label, LabelValue, bounded},
    sanitize::{REDACTED, Sanitizer},
};

const SHORT: usize = 16 * 1024;

/// The fields of an event: the message, the error, and all others.
#[derive(Debug, Default)]
pub(crate) struct EventFields {
    /// The error of a field `error` or `err`, or of a field that is an error value.
    pub(crate) exception: Option<Exception>,
    pub(crate) message: Option<String>,
    others: Vec<(&'static str, LabelValue)>,
    /// Where the crate `log` was used: what `tracing`'s own metadata would say.
    target: Option<String>,
    file: Option<String>,
    line: Option<u64>,
}

impl EventFields {
    /// `tracing`'s target.
    pub(crate) fn logger(&mut self, metadata: &Metadata<'static>) -> Cow<'static, str> {
        self.target.take().map_or(Cow::Borrowed(metadata.target()), Cow::Owned)
    }

    pub(crate) fn file(&mut self, metadata: &Metadata<'static>) -> Option<Cow<'static, str>> {
        self.file.take().map(Cow::Owned).or_else(|| metadata.file().map(Cow::Borrowed))
    }

    pub(crate) fn line(&self, metadata: &Metadata<'static>) -> Option<u32> {
        self.line.and_then(|line| u32::try_from(line).ok()).or_else(|| metadata.line())
    }

    /// Takes the text of the line: the message, or the first text field if there is no message, as in `error!(e = %e)`
    /// and `error!(?report)`. Fields with the name of a secret are skipped.
    pub(crate) fn take_line(&mut self, sanitizer: &Sanitizer) -> Option<String> {
        if let Some(message) = self.message.take() {
            return Some(message);
        }
        let is_line =
            |(name, value): &(&str, LabelValue)| matches!(value, LabelValue::Text(_)) && !sanitizer.is_secret(name);
        let at = self.others.iter().position(is_line)?;
        match self.others.remove(at).1 {
            LabelValue::Text(text) => Some(text.into_owned()),
            _ => None,
        }
    }

    /// Takes the first field that contains a multi-line error report, as in `error!(?report, "purchase failed")`.
    pub(crate) fn take_report(&mut self, sanitizer: &Sanitizer) -> Option<Exception> {
        let report = |(name, value): &(&str, LabelValue)| match value {
            LabelValue::Text(text) if text.contains('\n') && !sanitizer.is_secret(name) => {
                Some(Exception::from_text(text.clone().into_owned())).filter(Exception::is_report)
            }
            _ => None,
        };
        let (at, exception) = self.others.iter().enumerate().find_map(|(at, field)| Some((at, report(field)?)))?;
        self.others.remove(at);
        Some(exception)
    }

    /// All fields except message and error, redacted by name and within text, unlike labels that a developer sets.
    pub(crate) fn labels(self, sanitizer: &Sanitizer) -> impl Iterator<Item = Label> {
        self.raw_labels().map(|label| redacted(label, sanitizer))
    }

    /// All fields except message and error, for a record that is redacted where it is sent.
    pub(crate) fn raw_labels(self) -> impl Iterator<Item = Label> {
        self.others.into_iter().map(|(key, value)| Label { key: Cow::Borrowed(key), value })
    }

    fn text(&mut self, field: &Field, text: String) {
        match field.name() {
            "message" => self.message = Some(text),
            // an error value contains more data than a text
            "error" | "err" if self.exception.is_none() => {
                self.exception = Some(Exception::from_text(text));
            }
            "error" | "err" => {}
            "log.target" => self.target = Some(text),
            "log.file" => self.file = Some(text),
            "log.module_path" => {}
            name => self.others.push((name, LabelValue::Text(text.into()))),
        }
    }
}

/// A label that is a field of an event, without secrets.
pub(crate) fn redacted(label: Label, sanitizer: &Sanitizer) -> Label {
    let value = match label.value {
        _ if sanitizer.is_secret(&label.key) => LabelValue::Text(REDACTED.into()),
        LabelValue::Text(text) => LabelValue::Text(sanitizer.owned_text(text)),
        other => other,
    };
    Label { value, ..label }
}

impl Visit for EventFields {
    fn record_error(&mut self, _: &Field, error: &(dyn Error + 'static)) {
        self.exception = Some(Exception::from_error(error));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, bounded(&format_args!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        // what is short needs no look at each character
        self.text(field, if value.len() <= SHORT { value.to_owned() } else { bounded(value) });
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.others.push((field.name(), value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "log.line" => self.line = Some(value),
            name => self.others.push((name, value.into())),
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.others.push((field.name(), value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.others.push((field.name(), value.into()));
    }
}
