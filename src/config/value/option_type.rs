//! The trait that each type of option value implements.

use super::secret::HIDDEN;

/// A type of option values. A value comes as text from the environment, or as a Rust value from the builder's setter.
pub(crate) trait OptionType {
    /// The type of the field in [`Config`](crate::config::Config).
    type Value: Default;
    /// The type that the builder's setter stores.
    type Code;

    /// Describes the allowed values, with an example. Warnings and the option reference show this text.
    const ALLOWED: &'static str;
    /// Whether the value must not be shown.
    const SECRET: bool = false;
    /// Whether the option's other variables are deprecated. They are then used only if neither the option's own variable
    /// nor code sets the option.
    const ALIASES_LAST: bool = false;

    /// Parses text from the environment. The text is not empty.
    fn read(text: &str) -> Parsed<Self::Value>;

    /// Parses the text of another variable of the option, if that variable has a different syntax.
    fn read_alias(text: &str) -> Parsed<Self::Value> {
        Self::read(text)
    }

    /// Checks a value that code set.
    fn check(code: &Self::Code) -> Parsed<Self::Value>;

    /// Returns the value as it would be written in the environment, without secrets. Empty if the value is not set.
    fn show(value: &Self::Value) -> String;

    /// Returns text from the environment in the form in which warnings show it.
    fn show_text(text: &str) -> String {
        if Self::SECRET { HIDDEN.to_owned() } else { text.to_owned() }
    }

    /// Returns a value that code set in the form in which warnings show it.
    fn show_code(code: &Self::Code) -> String;

    /// Returns the default value. `text` is the default in the option table.
    fn default_value(text: &str) -> Self::Value {
        match Self::read(text) {
            Parsed::Valid(value) | Parsed::Corrected(value) => value,
            Parsed::Invalid | Parsed::Unset => Self::Value::default(),
        }
    }
}

/// The result of parsing one value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed<T> {
    Valid(T),
    /// The value is not allowed, but a corrected value is used, with a warning.
    Corrected(T),
    /// The value is not allowed. The next source is used.
    Invalid,
    /// The value is empty, which counts as not set.
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
