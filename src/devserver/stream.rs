//! One intake stream: bytes in, stored events out, and the account that becomes the answer.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    event::Protocol,
    inflate::Inflate,
    lines::{Line, Lines},
    script::Fate,
    store::Store,
    validate::{Verdict, judge_event, judge_metadata},
};

/// The server names no more rejected events than this.
const MAX_ERRORS: usize = 5;

/// What an intake request is told about its stream.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Account {
    pub(crate) accepted: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<Refusal>,
    /// The status that the stream itself asks for, because it could not be read to its end.
    #[serde(skip)]
    pub(crate) broken: Option<u16>,
}

/// One error in an answer.
#[derive(Debug, Serialize)]
pub(crate) struct Refusal {
    pub(crate) message: String,
    /// The line that was refused.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) document: String,
}

impl Account {
    /// An account with nothing but an error.
    pub(crate) fn error(message: impl Into<String>) -> Self {
        Self { errors: vec![Refusal { message: message.into(), document: String::new() }], ..Self::default() }
    }

    pub(crate) fn status(&self) -> u16 {
        self.broken.unwrap_or(if self.errors.is_empty() { 202 } else { 400 })
    }

    fn refuse(&mut self, message: String, document: &[u8]) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(Refusal { message, document: String::from_utf8_lossy(document).into_owned() });
        }
    }

    /// An error of the stream itself, named beside those of its events.
    fn break_off(&mut self, status: u16, message: String, document: &[u8]) {
        self.errors.push(Refusal { message, document: String::from_utf8_lossy(document).into_owned() });
        self.broken = Some(status);
    }
}

/// Reads one stream.
pub(crate) struct Stream {
    inflate: Inflate,
    reader: Reader,
}

impl Stream {
    pub(crate) fn new(encoding: Option<&str>, store: Store, fate: Fate) -> Self {
        let reader = Reader { lines: Lines::default(), metadata: None, store, fate, account: Account::default() };
        Self { inflate: Inflate::new(encoding), reader }
    }

    /// Takes bytes as they arrive. False once the stream is broken and the rest of it means nothing.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> bool {
        let Self { inflate, reader } = self;
        let read = inflate.push(bytes, &mut |plain| reader.push(plain));
        if let Err(error) = read {
            reader.unreadable(&error.to_string());
        }
        reader.account.broken.is_none()
    }

    /// The body has ended as it should.
    pub(crate) fn finish(mut self) -> Account {
        let Self { inflate, reader } = &mut self;
        if reader.account.broken.is_none() {
            match inflate.finish(&mut |plain| reader.push(plain)) {
                Ok(()) => reader.end(),
                Err(error) => reader.unreadable(&error.to_string()),
            }
        }
        self.reader.account
    }

    /// The account of a stream that is broken.
    pub(crate) fn into_account(self) -> Account {
        self.reader.account
    }
}

struct Reader {
    lines: Lines,
    metadata: Option<Arc<RawValue>>,
    store: Store,
    fate: Fate,
    account: Account,
}

impl Reader {
    fn push(&mut self, bytes: &[u8]) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.push(bytes, |line| match line {
            _ if self.account.broken.is_some() => {}
            Line::Whole(line) if self.metadata.is_none() => self.first(line),
            Line::Whole(line) => self.next(line),
            Line::TooLong(start) => self.too_long(start),
        });
        self.lines = lines;
    }

    fn end(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        match lines.rest() {
            None => {}
            // the server wants to see that the metadata ends
            Some(rest) if self.metadata.is_none() => self.bad_metadata("EOF while reading metadata", rest),
            Some(rest) => self.next(rest),
        }
    }

    fn first(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        match judge_metadata(&text) {
            Verdict::Accepted { kind, body } => {
                let metadata: Arc<RawValue> = body.to_owned().into();
                if self.fate.stores() {
                    self.store.accept(Protocol::Intake, kind, &metadata, metadata.clone());
                }
                self.metadata = Some(metadata);
            }
            Verdict::Rejected { kind, message } => {
                self.store.reject(kind, &message);
                self.bad_metadata(&message, line);
            }
            Verdict::Ignored => {}
        }
    }

    fn next(&mut self, line: &[u8]) {
        let Some(metadata) = self.metadata.as_ref().filter(|_| !line.is_empty()) else { return };
        let text = String::from_utf8_lossy(line);
        match judge_event(&text) {
            Verdict::Accepted { kind, body } => match self.fate.of_next() {
                Ok(stored) => {
                    if stored {
                        self.store.accept(Protocol::Intake, kind, metadata, body.to_owned().into());
                        self.account.accepted += 1;
                    }
                }
                Err(message) => {
                    self.store.reject(Some(kind), &message);
                    self.account.refuse(message, line);
                }
            },
            Verdict::Ignored => {}
            Verdict::Rejected { kind, message } => {
                self.store.reject(kind, &message);
                self.account.refuse(message, line);
            }
        }
    }

    fn too_long(&mut self, start: &[u8]) {
        let message = "event exceeded the permitted size";
        self.store.reject(None, message);
        if self.metadata.is_none() {
            self.bad_metadata(message, start);
        } else {
            self.account.refuse(message.to_owned(), start);
        }
    }

    fn bad_metadata(&mut self, message: &str, line: &[u8]) {
        self.account.break_off(400, format!("cannot read metadata in stream: {message}"), line);
    }

    /// The body cannot be decompressed. Before the metadata the server takes this for the sender's fault, after it for
    /// its own.
    fn unreadable(&mut self, message: &str) {
        let status = if self.metadata.is_none() { 400 } else { 500 };
        self.account.break_off(status, format!("cannot handle stream: {message}"), &[]);
    }
}
