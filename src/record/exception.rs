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

use super::{Context, ErrorRecord, Exception, Stack, TraceId, micros};

/// Causes that are followed; a chain may be circular.
const MAX_CAUSES: usize = 50;
/// Bytes of one message: more fits into no event. What is sent is cut to `long_field_max_length` characters.
const MAX_MESSAGE: usize = 300 * 1024;

impl Exception {
    /// An error with every `source()`.
    pub(crate) fn from_error<E: Error + 'static + ?Sized>(error: &E) -> Self {
        let (path, erased) = (type_name::<E>(), type_name::<E>().starts_with("dyn "));
        let mut exception = Self::of(error);
        exception.erased = erased;
        if erased {
            // the text of the outer error decides: there is no `&dyn Error` to be had from an unsized `E`
            exception.set_debug_name(error);
        } else {
            exception.set_path(path);
        }
        let mut source = error.source();
        while let Some(error) = source.filter(|_| exception.causes.len() < MAX_CAUSES) {
            let mut cause = Self::of(error);
            cause.erased = true;
            match known_path(error) {
                Some(path) => cause.set_path(path),
                None => cause.set_debug_name(error),
            }
            exception.causes.push(cause);
            source = error.source();
        }
        exception
    }

    fn of(error: &(impl Error + ?Sized)) -> Self {
        Self { message: bounded(error), ..Self::default() }
    }

    /// Only its text is known: neither type nor causes. `tracing` events that format an error give no more.
    pub(crate) fn is_text(&self) -> bool {
        self.erased && self.kind.is_none() && self.causes.is_empty()
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
        self.module = module.map(|module| Cow::Owned(module.to_owned()));
    }

    /// Sets the type from `Debug`: the type of an erased error is not known, but a derived `Debug` begins with the name
    /// of the type or variant. Some crates write the path too, such as `reqwest::Error`.
    fn set_debug_name(&mut self, error: &(impl fmt::Debug + ?Sized)) {
        let is_name =
            |text: &str, char: char| text.len() < 128 && (char.is_alphanumeric() || char == '_' || char == ':');
        let mut limited = Limited { text: String::new(), fits: is_name };
        let _ = write!(limited, "{error:?}");
        let name = limited.text.rsplit("::").next().unwrap_or_default();
        if name.starts_with(char::is_uppercase) {
            self.set_path(&limited.text);
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
            context: Context::default(),
        })
    }
}

impl Default for Exception {
    fn default() -> Self {
        Self {
            kind: None,
            erased: false,
            module: None,
            message: String::new(),
            handled: true,
            causes: Vec::new(),
            debug_text: None,
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

/// Whether this text is what an error's `Debug` writes. Compares at most 1 KiB, and stops the `Debug` at the first
/// difference: that of `anyhow::Error` resolves a stack at its end.
pub(crate) fn is_debug_of(text: &str, error: &(impl fmt::Debug + ?Sized)) -> bool {
    struct Compared<'a> {
        left: &'a [u8],
        is_cut: bool,
    }

    impl Write for Compared<'_> {
        fn write_str(&mut self, part: &str) -> fmt::Result {
            let compared = part.len().min(if self.is_cut { self.left.len() } else { usize::MAX });
            self.left = self.left.strip_prefix(&part.as_bytes()[..compared]).ok_or(fmt::Error)?;
            if self.is_cut && self.left.is_empty() { Err(fmt::Error) } else { Ok(()) }
        }
    }

    const MAX_COMPARED: usize = 1024;
    let left = &text.as_bytes()[..text.len().min(MAX_COMPARED)];
    let mut compared = Compared { left, is_cut: text.len() > MAX_COMPARED };
    let written = write!(compared, "{error:?}");
    compared.left.is_empty() && (written.is_ok() || compared.is_cut)
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

    #[test]
    fn section_9_3_every_cause_is_told_with_its_type() {
        let exception = Exception::from_error(&sale());
        assert_eq!(exception.kind.as_deref(), Some("SaleError"));
        assert_eq!(exception.module.as_deref(), Some("tower_apm::record::exception::tests"));
        assert_eq!(exception.message, "the sale failed");
        let causes: Vec<_> = exception.causes.iter().map(|c| (c.kind.as_deref(), c.message.as_str())).collect();
        assert_eq!(causes, [(Some("Reverted"), "reverted: no funds"), (Some("Error"), "out of gas")]);
    }

    #[test]
    fn an_erased_error_tells_its_type_by_its_debug() {
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
    fn section_9_3_endless_chains_and_messages_are_cut() {
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
    fn debug_text_is_compared_up_to_its_limit() {
        let error = sale();
        let text = format!("{error:?}");
        assert!(is_debug_of(&text, &error));
        for other in [&text[1..], &text[..text.len() - 1], &format!("{text}."), "", "the sale failed"] {
            assert!(!is_debug_of(other, &error), "{other}");
        }
        let long = io::Error::other("x".repeat(5000));
        assert!(is_debug_of(&format!("{long:?}"), &long));
        assert!(!is_debug_of(&format!("{long:?}"), &io::Error::other("x".repeat(5))));
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
