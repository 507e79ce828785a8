//! An error with its causes and its stack.

use std::borrow::Cow;

use super::{
    context::context,
    transaction::{self, name},
};
use crate::{
    elastic::model::{self, Error, ErrorLog, ErrorTransaction},
    record::{ErrorOrigin, ErrorRecord, Exception, LogMessage, Name},
    sanitize::Sanitizer,
    semconv::{free_keyword, free_text, keyword, name_keyword, prefix},
    stack::Frame,
};

/// `frames` are those of the record's exception, which the caller has resolved.
pub(crate) fn error<'a>(record: &'a ErrorRecord, frames: &'a [Frame], sanitizer: &Sanitizer) -> Error<'a> {
    let parent = record.parent.as_ref();
    Error {
        id: record.id,
        timestamp: record.timestamp,
        trace_id: parent.map(|parent| parent.trace_id),
        transaction_id: parent.map(|parent| parent.transaction_id),
        parent_id: parent.map(|parent| parent.parent_id),
        transaction: parent.map(|parent| ErrorTransaction {
            name: name(&parent.name, record.context.request.as_ref(), sanitizer),
            r#type: transaction::kind(&parent.kind, sanitizer),
            sampled: parent.sampled,
        }),
        culprit: culprit(record, frames, sanitizer),
        exception: record.exception.as_ref().map(|thrown| exception(thrown, frames, sanitizer)),
        log: log(record, frames, sanitizer),
        context: Some(context(&record.context, sanitizer)),
    }
}

/// Returns the function of the application in which the error occurred.
///
/// For an error at the end of a transaction, and if there is no such function, this is the name of the transaction.
fn culprit<'a>(record: &'a ErrorRecord, frames: &'a [Frame], sanitizer: &Sanitizer) -> Option<Cow<'a, str>> {
    let name = || transaction_name(record, sanitizer);
    let function = || {
        let is_no_place = |frame: &Frame| record.origin == ErrorOrigin::FailureLog && frame.is_into_response();
        let own = frames.iter().find(|frame| !frame.library && !is_no_place(frame))?;
        own.function.as_deref().or(own.module.as_deref()).or(own.file.as_deref()).map(keyword)
    };
    match record.origin {
        ErrorOrigin::Response => name().or_else(function),
        ErrorOrigin::Code | ErrorOrigin::ExitSpan | ErrorOrigin::FailureLog => function().or_else(name),
    }
}

/// Returns the transaction's name by which Kibana groups errors.
fn transaction_name<'a>(record: &'a ErrorRecord, sanitizer: &Sanitizer) -> Option<Cow<'a, str>> {
    let name = &record.parent.as_ref()?.name;
    let text = name.resolve(record.context.request.as_ref());
    let text = if matches!(name, Name::Route) { keyword(text) } else { name_keyword(text, sanitizer) };
    Some(text).filter(|text| !text.is_empty())
}

fn exception<'a>(thrown: &'a Exception, frames: &'a [Frame], sanitizer: &Sanitizer) -> model::Exception<'a> {
    model::Exception {
        cause: chain(&thrown.causes, sanitizer),
        stacktrace: frames.iter().map(frame).collect(),
        handled: Some(thrown.handled),
        ..bare(thrown, sanitizer)
    }
}

/// Each cause within the one that it caused.
fn chain<'a>(causes: &'a [Exception], sanitizer: &Sanitizer) -> Vec<model::Exception<'a>> {
    causes
        .iter()
        .rev()
        .fold(Vec::new(), |inner, cause| vec![model::Exception { cause: inner, ..bare(cause, sanitizer) }])
}

fn bare<'a>(thrown: &'a Exception, sanitizer: &Sanitizer) -> model::Exception<'a> {
    let named = |text: &'a Option<Cow<'static, str>>| {
        let text = text.as_deref().filter(|text| !text.is_empty())?;
        Some(free_keyword(text, sanitizer))
    };
    model::Exception {
        message: Some(message(&thrown.message, sanitizer)),
        r#type: kind(thrown, sanitizer),
        module: named(&thrown.module),
        ..model::Exception::default()
    }
}

/// Returns the type with the variant of an enum: `AppError::Settlement`.
///
/// The parts are redacted separately, because text after a colon could be taken for the value of a secret.
fn kind<'a>(thrown: &'a Exception, sanitizer: &Sanitizer) -> Option<Cow<'a, str>> {
    let kind = thrown.kind.as_deref().filter(|kind| !kind.is_empty())?;
    Some(match thrown.variant.as_deref() {
        Some(variant) => keyword(format!("{}::{}", sanitizer.text(kind), sanitizer.text(variant))),
        None => free_keyword(kind, sanitizer),
    })
}

fn message<'a>(text: &'a str, sanitizer: &Sanitizer) -> Cow<'a, str> {
    match text.is_empty() {
        true => "[EMPTY]".into(),
        false => free_text(text, sanitizer),
    }
}

pub(super) fn frame(frame: &Frame) -> model::Frame<'_> {
    let file = frame.file.as_deref().filter(|file| !file.is_empty());
    model::Frame {
        filename: file.map(prefix),
        // one of both must be there
        classname: match file {
            Some(_) => None,
            None => Some(prefix(frame.module.as_deref().or(frame.function.as_deref()).unwrap_or("unknown"))),
        },
        function: frame.function.as_deref().map(prefix),
        // the server groups by it; the file in its place is there or not as the program was built
        module: frame.module.as_deref().or(frame.function.as_deref()).map(prefix),
        lineno: frame.line,
        colno: frame.column,
        library_frame: Some(frame.library),
        ..model::Frame::default()
    }
}

/// Returns the log line of an error.
///
/// The server groups errors by the template, in addition to types and functions. For errors that explain why a
/// transaction failed, the template is the transaction's name, so that each route has its own groups.
fn log<'a>(record: &'a ErrorRecord, frames: &'a [Frame], sanitizer: &Sanitizer) -> Option<ErrorLog<'a>> {
    let by_name = match record.origin {
        ErrorOrigin::Code | ErrorOrigin::ExitSpan => None,
        ErrorOrigin::FailureLog | ErrorOrigin::Response => transaction_name(record, sanitizer),
    };
    let template = |line: &'a LogMessage| line.template.as_deref().map(|template| free_keyword(template, sanitizer));
    let line = match (&record.log, &record.exception) {
        (Some(line), _) => ErrorLog {
            message: message(&line.message, sanitizer),
            level: Some(line.level),
            logger_name: line.logger.as_deref().map(keyword),
            param_message: template(line).or(by_name),
            stacktrace: Vec::new(),
        },
        (None, Some(thrown)) if by_name.is_some() => ErrorLog {
            message: message(&thrown.message, sanitizer),
            level: Some("error"),
            logger_name: None,
            param_message: by_name,
            stacktrace: Vec::new(),
        },
        _ => return None,
    };
    let stacktrace = if record.exception.is_none() { frames.iter().map(frame).collect() } else { Vec::new() };
    Some(ErrorLog { stacktrace, ..line })
}
