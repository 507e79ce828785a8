//! An error value, a panic or an `exception` event, as an [`Exception`].

use std::{
    any::{Any, type_name},
    borrow::Cow,
    error::Error,
    fmt::{self, Write},
    io,
    time::SystemTime,
};

use opentelemetry::KeyValue;

use super::{
    Context, ErrorOrigin, ErrorRecord, Exception, Stack, TraceId,
    debug_name::{debug_name, type_of_text},
    micros,
    report::Report,
};

/// Causes that are followed; a chain may be circular.
const MAX_CAUSES: usize = 50;
/// Bytes of one message: more fits into no event. What is sent is cut to `long_field_max_length` characters.
const MAX_MESSAGE: usize = 300 * 1024;

impl Exception {
    /// An error with every `source()`.
    pub(crate) fn from_error<E: Error + 'static + ?Sized>(error: &E) -> Self {
        let path = type_name::<E>();
        Self::build(error, (!path.starts_with("dyn ")).then_some(path))
    }

    /// Creates an exception from a boxed error with a known type. `path` is its `type_name`.
    pub(crate) fn from_boxed(error: &(dyn Error + 'static), path: &str) -> Self {
        Self::build(error, Some(path))
    }

    fn build(error: &(impl Error + ?Sized), path: Option<&str>) -> Self {
        let mut exception = Self::of(error);
        exception.erased = path.is_none();
        let name = debug_name(error, &exception.message);
        match path {
            Some(path) => exception.set_enum_path(path, name),
            None => exception.set_name(name),
        }
        let mut source = error.source();
        while let Some(error) = source.filter(|_| exception.causes.len() < MAX_CAUSES) {
            let mut cause = Self::of(error);
            cause.erased = true;
            match known_path(error) {
                Some(path) => cause.set_path(path),
                None => cause.set_name(debug_name(error, &cause.message)),
            }
            exception.causes.push(cause);
            source = error.source();
        }
        exception.take_type_of_cause();
        exception
    }

    /// Creates an exception from a text: the value of a field, or the message of an event.
    ///
    /// The text can be a report with causes, or the `Debug` output of an error, from which the type is read.
    pub(crate) fn from_text(text: String) -> Self {
        let of_text = |message: String| {
            let mut exception = Self { erased: true, ..Self::default() };
            exception.set_name(type_of_text(&message).map(str::to_owned));
            exception.message = message;
            exception
        };
        let mut exception = match Report::parse(&text) {
            Some(report) => Self {
                causes: report.causes.into_iter().map(of_text).collect(),
                stack: match (report.backtrace, report.place) {
                    (Some(backtrace), _) => Stack::Text(backtrace.into()),
                    (None, Some(place)) => Stack::Location(place),
                    (None, None) => Stack::None,
                },
                ..of_text(report.message)
            },
            None => of_text(text.clone()),
        };
        exception.take_type_of_cause();
        exception.logged_text = Some(text.into());
        exception
    }

    /// Returns true if [`from_text`](Self::from_text) has found more than a message.
    pub(crate) fn is_report(&self) -> bool {
        self.kind.is_some() || !self.causes.is_empty() || !matches!(self.stack, Stack::None)
    }

    fn of(error: &(impl Error + ?Sized)) -> Self {
        Self { message: bounded(error), ..Self::default() }
    }

    /// Returns true if only the text of the error is known, because a `tracing` event formatted it.
    pub(crate) fn is_text(&self) -> bool {
        self.logged_text.is_some()
    }

    /// What a panic was raised with; unhandled.
    pub(crate) fn from_panic(payload: &(dyn Any + 'static)) -> Self {
        let text =
            payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self {
            kind: Some(Cow::Borrowed("panic")),
            message: bounded(&text.unwrap_or("a panic without a message")),
            handled: false,
            ..Self::default()
        }
    }

    /// An `exception` span event, by OpenTelemetry's semantic conventions.
    pub(crate) fn from_event(attributes: &[KeyValue]) -> Self {
        let text = |key: &str| {
            let found = attributes.iter().find(|attribute| attribute.key.as_str() == key)?;
            Some(found.value.as_str().into_owned()).filter(|text| !text.is_empty())
        };
        let mut exception = Self {
            message: bounded(&text("exception.message").unwrap_or_default()),
            handled: text("exception.escaped").is_none_or(|escaped| escaped != "true"),
            stack: text("exception.stacktrace").map_or(Stack::None, |text| Stack::Text(text.into())),
            ..Self::default()
        };
        if let Some(path) = text("exception.type") {
            exception.set_path(&path);
        }
        exception
    }

    /// Type and module out of a path such as `market::error::SettlementError<T>`.
    pub(crate) fn set_path(&mut self, path: &str) {
        let plain = path.split('<').next().unwrap_or_default().trim_start_matches('&');
        // the path by which everybody knows it
        let plain = if plain == "std::io::error::Error" { "std::io::Error" } else { plain };
        let (module, kind) = match plain.rsplit_once("::") {
            Some((module, kind)) => (Some(module), kind),
            None => (None, plain),
        };
        self.kind = (!kind.is_empty()).then(|| Cow::Owned(kind.to_owned()));
        self.variant = None;
        self.module = module.map(|module| Cow::Owned(module.to_owned()));
    }

    /// Sets the type of a value, and the variant if the name in its `Debug` output is not the name of the type.
    fn set_enum_path(&mut self, path: &str, debug_name: Option<String>) {
        self.set_path(path);
        // its `Debug` output depends on how the error was created
        let is_io_error = self.module.as_deref() == Some("std::io");
        let name = debug_name.as_deref().and_then(|name| name.rsplit("::").next()).filter(|_| !is_io_error);
        self.variant = name.filter(|name| self.kind.as_deref() != Some(*name)).map(|name| name.to_owned().into());
    }

    /// Sets the type of an erased error from the name in its `Debug` output.
    fn set_name(&mut self, name: Option<String>) {
        if let Some(name) = name {
            self.set_path(&name);
        }
    }

    /// Sets the type of an erased error without a type, such as a context of `anyhow`, to the type of the nearest
    /// cause.
    fn take_type_of_cause(&mut self) {
        if self.erased
            && self.kind.is_none()
            && let Some(cause) = self.causes.iter().find(|cause| cause.kind.is_some())
        {
            (self.kind, self.module) = (cause.kind.clone(), cause.module.clone());
        }
    }

    /// Its type and those of its causes, as far as they are known: with their path where that is known too.
    pub(crate) fn types(&self) -> impl Iterator<Item = Cow<'_, str>> {
        std::iter::once(self).chain(&self.causes).filter_map(|one| {
            let kind = one.kind.as_deref()?;
            Some(one.module.as_deref().map_or(Cow::Borrowed(kind), |module| Cow::Owned(format!("{module}::{kind}"))))
        })
    }

    /// A document of its own, not yet part of a transaction.
    pub(crate) fn into_record(self, at: SystemTime) -> Box<ErrorRecord> {
        Box::new(ErrorRecord {
            id: TraceId::random(),
            timestamp: micros(at),
            parent: None,
            exception: Some(self),
            log: None,
            origin: ErrorOrigin::Code,
            context: Context::default(),
        })
    }
}

impl Default for Exception {
    fn default() -> Self {
        Self {
            kind: None,
            variant: None,
            erased: false,
            module: None,
            message: String::new(),
            handled: true,
            causes: Vec::new(),
            debug_text: None,
            logged_text: None,
            stack: Stack::None,
        }
    }
}

/// Writes no more than fits, and stops the writer then.
struct Limited<F> {
    text: String,
    fits: F,
}

impl<F: Fn(&str, char) -> bool> Write for Limited<F> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        for char in part.chars() {
            if !(self.fits)(&self.text, char) {
                return Err(fmt::Error);
            }
            self.text.push(char);
        }
        Ok(())
    }
}

/// The beginning of a text, as much as is ever sent of a message.
pub(crate) fn bounded(message: &(impl fmt::Display + ?Sized)) -> String {
    let mut limited = Limited { text: String::new(), fits: |text: &str, _| text.len() < MAX_MESSAGE };
    // an error here is the limit, or a `Display` that gave up: what there is, is kept
    let _ = write!(limited, "{message}");
    limited.text
}

/// Errors that nearly every service meets, and whose `Debug` does not tell.
fn known_path(error: &(dyn Error + 'static)) -> Option<&'static str> {
    macro_rules! known {
        ($($kind:ty => $path:literal),+ $(,)?) => {
            $(if error.is::<$kind>() { return Some($path); })+
        };
    }
    known! {
        io::Error => "std::io::Error",
        fmt::Error => "std::fmt::Error",
        std::num::ParseIntError => "std::num::ParseIntError",
        std::num::ParseFloatError => "std::num::ParseFloatError",
        std::str::Utf8Error => "std::str::Utf8Error",
        std::string::FromUtf8Error => "std::string::FromUtf8Error",
        serde_json::Error => "serde_json::Error",
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the sale failed")]
    struct SaleError<T: fmt::Debug>(T, #[source] ChainError);

    #[derive(Debug, thiserror::Error)]
    enum ChainError {
        #[error("reverted: {0}")]
        Reverted(String, #[source] io::Error),
    }

    fn sale() -> SaleError<u8> {
        SaleError(1, ChainError::Reverted("no funds".into(), io::Error::other("out of gas")))
    }

    // spec: error-tracking.md
    #[test]
    fn causes_have_their_types() {
        let exception = Exception::from_error(&sale());
        assert_eq!(exception.kind.as_deref(), Some("SaleError"));
        assert_eq!(exception.module.as_deref(), Some("tower_apm::record::exception::tests"));
        assert_eq!(exception.message, "the sale failed");
        let causes: Vec<_> = exception.causes.iter().map(|c| (c.kind.as_deref(), c.message.as_str())).collect();
        assert_eq!(causes, [(Some("Reverted"), "reverted: no funds"), (Some("Error"), "out of gas")]);
    }

    #[test]
    fn type_of_an_erased_error_is_read_from_its_debug_output() {
        let boxed: Box<dyn Error> = Box::new(sale());
        let exception = Exception::from_error(&*boxed);
        assert_eq!((exception.kind.as_deref(), exception.erased), (Some("SaleError"), true));
        #[derive(thiserror::Error)]
        #[error("no route to host")]
        struct Unreachable;
        impl fmt::Debug for Unreachable {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct("reqwest::Error").finish_non_exhaustive()
            }
        }
        let with_path: Box<dyn Error> = Box::new(Unreachable);
        assert_eq!(Exception::from_error(&*with_path).types().collect::<Vec<_>>(), ["reqwest::Error"]);
        let text: Box<dyn Error> = "just text".into();
        assert_eq!(Exception::from_error(&*text).kind, None);
    }

    #[test]
    fn enum_variant_belongs_to_the_type() {
        fn parts(exception: &Exception) -> (&str, Option<&str>) {
            (exception.kind.as_deref().unwrap(), exception.variant.as_deref())
        }
        let error = ChainError::Reverted("no funds".into(), io::Error::other("out of gas"));
        let exception = Exception::from_error(&error);
        assert_eq!(parts(&exception), ("ChainError", Some("Reverted")));
        let boxed: Box<dyn Error> = error.into();
        let path = type_name::<ChainError>();
        assert_eq!(parts(&Exception::from_boxed(&*boxed, path)), ("ChainError", Some("Reverted")));
        assert_eq!(parts(&Exception::from_error(&io::Error::other("gone"))), ("Error", None));
        assert_eq!(parts(&Exception::from_error(&sale())), ("SaleError", None));
    }

    #[test]
    fn anyhow_error_has_the_type_of_the_first_cause_that_has_one() {
        let kind = |error: anyhow::Error| {
            let boxed: Box<dyn Error + Send + Sync> = error.into();
            let exception = Exception::from_error(&*boxed);
            (exception.kind.map(Cow::into_owned), exception.message)
        };
        let typed = || anyhow::Error::from(sale());
        assert_eq!(kind(typed()), (Some("SaleError".to_owned()), "the sale failed".to_owned()));
        let wrapped = typed().context("HTTP error 502").context("cannot sell");
        assert_eq!(kind(wrapped), (Some("SaleError".to_owned()), "cannot sell".to_owned()));
        for message in ["HTTP error 502", "Timeout", "HTTP(502)"] {
            assert_eq!(kind(anyhow::Error::msg(message)).0, None, "{message}");
            assert_eq!(kind(anyhow::anyhow!("{message}").context(message)).0, None, "{message}");
            let none = anyhow::Context::context(None::<()>, message).unwrap_err();
            assert_eq!(kind(none).0, None, "{message}");
        }
    }

    #[test]
    fn text_of_an_anyhow_report_has_message_causes_and_type() {
        let report = anyhow::Error::from(sale()).context("cannot sell");
        let text = format!("{report:?}");
        let exception = Exception::from_text(text.clone());
        assert_eq!(exception.message, "cannot sell");
        let causes: Vec<_> = exception.causes.iter().map(|cause| cause.message.as_str()).collect();
        assert_eq!(causes, ["the sale failed", "reverted: no funds", "out of gas"]);
        assert_eq!(exception.logged_text.as_deref(), Some(&*text));
        assert!(exception.is_report() && exception.is_text());
        let exception = Exception::from_text(format!("{:?}", sale()));
        assert_eq!(exception.kind.as_deref(), Some("SaleError"));
        assert!(!Exception::from_text("no sale".to_owned()).is_report());
    }

    // spec: error-tracking.md
    #[test]
    fn long_cause_chains_and_messages_are_truncated() {
        #[derive(Debug)]
        struct Endless;
        impl fmt::Display for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                (0..).try_for_each(|_| f.write_str("over and over "))
            }
        }
        impl Error for Endless {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&Endless)
            }
        }
        let exception = Exception::from_error(&Endless);
        assert_eq!(exception.message.len(), MAX_MESSAGE);
        assert_eq!(exception.causes.len(), MAX_CAUSES);
    }

    #[test]
    fn exception_events_follow_the_conventions() {
        let exception = Exception::from_event(&[
            KeyValue::new("exception.type", "market::Reverted"),
            KeyValue::new("exception.message", "no"),
            KeyValue::new("exception.escaped", true),
        ]);
        assert_eq!((exception.kind.as_deref(), exception.module.as_deref()), (Some("Reverted"), Some("market")));
        assert!(!exception.handled);
    }

    #[test]
    fn panics_are_unhandled() {
        let exception = Exception::from_panic(&*(Box::new("boom") as Box<dyn Any + Send>));
        assert_eq!((exception.message.as_str(), exception.handled), ("boom", false));
    }
}
