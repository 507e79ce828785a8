//! One intake stream: bytes in, stored events out, and the account that becomes the answer.

use std::cell::Cell;

use bytes::Bytes;
use serde::Serialize;

use super::{
    event::{Metadata, Protocol},
    inflate::{Filled, Inflate},
    lines::{Line, Lines},
    memory::OverBudget,
    script::Ingestion,
    store::{Store, shorten},
    validate::{Verdict, judge_event, judge_metadata},
    work::{Slice, Task},
};

/// The server names no more rejected events than this.
const MAX_ERRORS: usize = 5;
/// The most decompressed bytes of one body. The APM Server has no limit; agents send about 15 MiB.
const MAX_BODY: u64 = 64 * 1024 * 1024;
/// The most lines of one body, empty ones included. The APM Server has no limit; agents send some 10 000.
const MAX_LINES: usize = 100_000;
/// The most bytes that the validation of one body may read: eight times the largest body.
const MAX_READ: usize = 8 * MAX_BODY as usize;

/// What an intake request is told about its stream.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Account {
    pub(crate) accepted: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<Refusal>,
    /// The status that the stream itself asks for, because it could not be read to its end.
    #[serde(skip)]
    pub(crate) broken: Option<u16>,
    /// The memory budget was exhausted; the client may try again.
    #[serde(skip)]
    pub(crate) over_budget: bool,
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
    /// An account with nothing but an error, which has this status.
    pub(crate) fn error(status: u16, message: impl Into<String>) -> Self {
        let mut account = Self::default();
        account.break_off(status, message.into());
        account
    }

    /// The memory budget does not suffice for the rest of the stream.
    pub(crate) fn break_off_over_budget(&mut self) {
        self.break_off(503, OverBudget.to_string());
        self.over_budget = true;
    }

    /// An error of the stream itself, named in addition to those of its events.
    pub(crate) fn break_off(&mut self, status: u16, message: String) {
        self.break_off_at(status, message, &[]);
    }

    pub(crate) fn status(&self) -> u16 {
        self.broken.unwrap_or(if self.errors.is_empty() { 202 } else { 400 })
    }

    /// Without the documents, which can hold 300 KiB each.
    pub(crate) fn without_documents(mut self) -> Self {
        self.errors.iter_mut().for_each(|error| error.document = String::new());
        self
    }

    fn memory(&self) -> usize {
        self.errors.iter().map(|error| error.message.len() + error.document.len()).sum()
    }

    fn refuse(&mut self, message: String, document: &[u8]) {
        if self.errors.len() < MAX_ERRORS {
            let message = shorten(&message).to_owned();
            self.errors.push(Refusal { message, document: String::from_utf8_lossy(document).into_owned() });
        }
    }

    fn break_off_at(&mut self, status: u16, message: String, document: &[u8]) {
        let message = shorten(&message).to_owned();
        self.errors.push(Refusal { message, document: String::from_utf8_lossy(document).into_owned() });
        self.broken = Some(status);
    }
}

/// Reads one stream. Bytes are [fed](Self::feed) to it, and the [`Task`] works them off.
pub(crate) struct Stream {
    inflate: Inflate,
    /// Bytes of the body that are still to be read.
    input: Bytes,
    /// Decompressed bytes, and how many of them are worked off.
    plain: Vec<u8>,
    done: usize,
    /// The body has no more bytes.
    ended: bool,
    reader: Reader,
}

impl Stream {
    pub(crate) fn new(encoding: Option<&str>, store: Store, ingestion: Ingestion) -> Self {
        Self {
            inflate: Inflate::new(encoding, MAX_BODY),
            input: Bytes::new(),
            plain: Vec::new(),
            done: 0,
            ended: false,
            reader: Reader {
                lines: Lines::default(),
                seen: 0,
                read: Cell::new(0),
                metadata: None,
                store,
                ingestion,
                account: Account::default(),
            },
        }
    }

    /// Hands over the next bytes of the body; those before are worked off.
    pub(crate) fn feed(&mut self, bytes: Bytes) {
        self.input = bytes;
    }

    /// The body has ended as it should.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }

    /// True once the stream is broken and the rest of the body means nothing.
    pub(crate) fn is_broken(&self) -> bool {
        self.reader.account.broken.is_some()
    }

    /// What became of what was worked off.
    pub(crate) fn into_account(self) -> Account {
        self.reader.account
    }

    /// The bytes that it keeps.
    pub(crate) fn memory(&self) -> usize {
        let Reader { lines, metadata, account, .. } = &self.reader;
        let metadata = metadata.as_ref().map_or(0, |metadata| metadata.raw().get().len());
        let own = self.inflate.memory() + self.input.len() + self.plain.capacity();
        own + lines.memory() + metadata + account.memory()
    }

    /// Decompresses the next piece. False if there is no more.
    fn fill(&mut self) -> bool {
        self.plain.clear();
        self.done = 0;
        match self.inflate.fill(&mut self.input, &mut self.plain) {
            Ok(Filled::Some) => return true,
            Ok(Filled::NeedsInput) if !self.ended => {}
            // once: the next time the bytes are there or the line is closed
            Ok(Filled::NeedsInput) => match self.inflate.finish(&mut self.plain) {
                Ok(()) => {
                    let mut rest = self.plain.as_slice();
                    while !rest.is_empty() {
                        self.reader.take(&mut rest);
                    }
                    self.plain.clear();
                    self.reader.end();
                }
                Err(error) => self.reader.unreadable(&error.to_string()),
            },
            Err(error) => self.reader.unreadable(&error.to_string()),
        }
        false
    }
}

impl Task for Stream {
    fn advance(&mut self, slice: &Slice) -> bool {
        loop {
            if self.is_broken() {
                self.input.clear();
                return true;
            }
            if !slice.allows(self.reader.lines.len()) {
                return false;
            }
            let Self { plain, done, reader, .. } = self;
            if let Some(mut rest) = plain.get(*done..).filter(|rest| !rest.is_empty()) {
                reader.take(&mut rest);
                *done = plain.len() - rest.len();
            } else if !self.fill() {
                return true;
            }
        }
    }
}

struct Reader {
    lines: Lines,
    /// Lines so far.
    seen: usize,
    /// Bytes that judging them took.
    read: Cell<usize>,
    metadata: Option<Metadata>,
    store: Store,
    ingestion: Ingestion,
    account: Account,
}

impl Reader {
    /// Takes bytes to the end of the line, or all that there are.
    fn take(&mut self, bytes: &mut &[u8]) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.take(bytes, |line| {
            self.seen += 1;
            match line {
                _ if self.seen > MAX_LINES || self.read.get() > MAX_READ => self.too_much(),
                Line::Whole(line) if self.metadata.is_none() => self.first(line),
                Line::Whole(line) => self.next(line),
                Line::TooLong(start) => self.too_long(start),
            }
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

    fn too_much(&mut self) {
        let message = if self.seen > MAX_LINES {
            format!("the stream contains more than {MAX_LINES} lines")
        } else {
            "the stream contains too many large and deeply nested events".to_owned()
        };
        self.account.break_off(413, message);
    }

    fn first(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        match judge_metadata(&text, &self.read) {
            Verdict::Accepted { kind, body } => {
                let metadata = Metadata::new(body.to_owned().into());
                if self.ingestion.stores() {
                    self.store.accept(Protocol::Intake, kind, &metadata, metadata.raw().clone());
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
        match judge_event(&text, &self.read) {
            Verdict::Accepted { kind, body } => match self.ingestion.of_next() {
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
        self.account.break_off_at(400, format!("cannot read metadata in stream: {message}"), line);
    }

    /// The body cannot be decompressed. Before the metadata the server takes this for the sender's fault, after it for
    /// its own.
    fn unreadable(&mut self, message: &str) {
        let status = if self.metadata.is_none() { 400 } else { 500 };
        self.account.break_off(status, format!("cannot handle stream: {message}"));
    }
}
