//! Values that must not be shown.

use std::fmt;

use super::{OptionType, Parsed};

/// A secret text. `Debug` and `Display` print `***`.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the text. Use it only for the header that contains the secret.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// Replaces a secret in logs and warnings.
pub(crate) const HIDDEN: &str = "***";

/// A secret for an `Authorization` header. Surrounding blanks and line ends are removed, because secrets that are mounted
/// from files often end with a line end.
#[derive(Debug)]
pub(crate) struct Credential;

impl OptionType for Credential {
    type Value = Option<Secret>;
    type Code = Secret;
    const ALLOWED: &'static str = "visible ASCII characters and blanks";
    const SECRET: bool = true;

    fn read(text: &str) -> Parsed<Option<Secret>> {
        match text.trim() {
            "" => Parsed::Unset,
            text if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) => {
                Parsed::Valid(Some(Secret(text.to_owned())))
            }
            _ => Parsed::Invalid,
        }
    }

    fn check(code: &Secret) -> Parsed<Option<Secret>> {
        Self::read(code.reveal())
    }

    fn show(value: &Option<Secret>) -> String {
        value.as_ref().map_or_else(String::new, Secret::to_string)
    }

    fn show_code(code: &Secret) -> String {
        code.to_string()
    }
}
