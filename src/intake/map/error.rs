//! An error with its causes and its stack.

use std::borrow::Cow;

use super::{
    context::context,
    transaction::{kind, name},
    truncate::{free_keyword, free_text, keyword, prefix},
};
use crate::{
    intake::model::{self, Error, ErrorLog, ErrorTransaction},
    record::{ErrorRecord, Exception, LogMessage},
    sanitize::Sanitizer,
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
            r#type: kind(&parent.kind, sanitizer),
            sampled: parent.sampled,
        }),
        culprit: culprit(frames).map(keyword),
        exception: record.exception.as_ref().map(|thrown| exception(thrown, frames, sanitizer)),
        log: record.log.as_ref().map(|line| log(line, sanitizer)),
        context: Some(context(&record.context, sanitizer)),
    }
}

/// Where in the application it happened.
fn culprit(frames: &[Frame]) -> Option<&str> {
    let own = frames.iter().find(|frame| !frame.library)?;
    own.function.as_deref().or(own.module.as_deref()).or(own.file.as_deref())
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
        r#type: named(&thrown.kind),
        module: named(&thrown.module),
        ..model::Exception::default()
    }
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

fn log<'a>(line: &'a LogMessage, sanitizer: &Sanitizer) -> ErrorLog<'a> {
    ErrorLog {
        message: message(&line.message, sanitizer),
        level: Some(line.level),
        logger_name: line.logger.as_deref().map(keyword),
        param_message: line.template.as_deref().map(|template| free_keyword(template, sanitizer)),
        stacktrace: Vec::new(),
    }
}
