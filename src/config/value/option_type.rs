//! What an option's kind of value has to tell.

use super::secret::HIDDEN;

/// A kind of value: from the environment as text, from code as the type that the builder's setter takes.
pub(crate) trait OptionType {
    /// What [`Config`](crate::config::Config) holds.
    type Value: Default;
    /// What the builder hands over.
    type Code;

    /// Ends the sentence "the option is …": what is allowed, with an example.
    const ALLOWED: &'static str;
    /// The value must not be shown.
    const SECRET: bool = false;
    /// The option's other variables are its predecessors: they count only where nobody, code included, uses its own name.
    const ALIASES_LAST: bool = false;

    /// Reads text, never empty.
    fn read(text: &str) -> Parsed<Self::Value>;

    /// Reads the text of one of the option's older variables, where those have another grammar.
    fn read_alias(text: &str) -> Parsed<Self::Value> {
        Self::read(text)
    }

    /// Checks a value that came from code.
    fn check(code: &Self::Code) -> Parsed<Self::Value>;

    /// A value as it would be written in the environment; hides what is secret. Empty for a value that is not set.
    fn show(value: &Self::Value) -> String;

    /// Text of the environment, for a warning.
    fn show_text(text: &str) -> String {
        if Self::SECRET { HIDDEN.to_owned() } else { text.to_owned() }
    }

    /// What code handed over, for a warning.
    fn show_code(code: &Self::Code) -> String;

    /// The value where no source has one, from the text that the option table gives.
    fn default_value(text: &str) -> Self::Value {
        match Self::read(text) {
            Parsed::Valid(value) | Parsed::Corrected(value) => value,
            Parsed::Invalid | Parsed::Unset => Self::Value::default(),
        }
    }
}

/// What came of reading one value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed<T> {
    Valid(T),
    /// Not allowed as it stands, but its meaning is plain: used, and warned about.
    Corrected(T),
    /// The next source is asked.
    Invalid,
    /// Empty: the same as not given.
    Unset,
}

impl<T> Parsed<T> {
    pub(crate) fn from_option(value: Option<T>) -> Self {
        value.map_or(Self::Invalid, Self::Valid)
    }

    #[cfg(test)]
    pub(crate) fn valid(self) -> Option<T> {
        match self {
            Parsed::Valid(value) => Some(value),
            _ => None,
        }
    }
}
