//! Environment variables, and files that contain their values.

use std::{fs, io, path::PathBuf};

/// Reads environment variables.
///
/// The value of each variable can also be in a file. The variable `NAME_FILE` is then the path of the file. Line
/// endings at the end of the file are removed. An empty variable counts as not set.
#[derive(Clone, Copy)]
pub struct Variables<'a> {
    read: &'a dyn Fn(&str) -> Option<String>,
}

/// A variable whose value cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum VariableError {
    #[error("{name} and {name}_FILE are both set: set one of them")]
    Both { name: String },
    #[error("{name}_FILE is {path:?}, and this file cannot be read")]
    File { name: String, path: PathBuf, source: io::Error },
    #[error("{name}_FILE is {path:?}, and this file is empty")]
    EmptyFile { name: String, path: PathBuf },
}

impl<'a> Variables<'a> {
    /// Reads variables through `read`, for instance `&|name| std::env::var(name).ok()`.
    pub fn new(read: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { read }
    }

    /// Returns the value of `name` or the content of the file `NAME_FILE`. Returns `None` if neither is set.
    pub fn get(&self, name: &str) -> Result<Option<String>, VariableError> {
        let (value, file) = (self.value(name), self.file(name)?);
        if value.is_some() && file.is_some() {
            return Err(VariableError::Both { name: name.to_owned() });
        }
        Ok(value.or(file))
    }

    /// Returns the content of the file `NAME_FILE`. Returns `None` if the variable is not set.
    pub fn file(&self, name: &str) -> Result<Option<String>, VariableError> {
        let Some(path) = self.value(&format!("{name}_FILE")).map(PathBuf::from) else { return Ok(None) };
        let content = match fs::read_to_string(&path) {
            Ok(content) => content,
            Err(source) => return Err(VariableError::File { name: name.to_owned(), path, source }),
        };
        match content.trim_end_matches(['\r', '\n']) {
            "" => Err(VariableError::EmptyFile { name: name.to_owned(), path }),
            value => Ok(Some(value.to_owned())),
        }
    }

    fn value(&self, name: &str) -> Option<String> {
        (self.read)(name).filter(|value| !value.is_empty())
    }
}

impl std::fmt::Debug for Variables<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Variables").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    /// Reads `NAME` with `NAME_FILE` set to a file of this content.
    fn read_file(content: &[u8]) -> Result<Option<String>, VariableError> {
        let path = std::env::temp_dir().join(format!("marketplace-variable-{}", uuid::Uuid::new_v4()));
        fs::write(&path, content).unwrap();
        let file = path.to_str().unwrap().to_owned();
        let result = Variables::new(&|name| (name == "NAME_FILE").then(|| file.clone())).get("NAME");
        fs::remove_file(path).unwrap();
        result
    }

    #[test]
    fn value_of_a_file_has_no_trailing_line_end() {
        for content in ["hunter 2", "hunter 2\n", "hunter 2\r\n"] {
            assert_eq!(read_file(content.as_bytes()).unwrap().as_deref(), Some("hunter 2"));
        }
    }

    #[test]
    fn empty_variables_count_as_not_set() {
        assert_eq!(Variables::new(&|_| Some(String::new())).get("NAME").unwrap(), None);
        assert_eq!(Variables::new(&|_| None).get("NAME").unwrap(), None);
    }

    #[test]
    fn unusable_files_are_named() {
        let missing = Variables::new(&|name| (name == "NAME_FILE").then(|| "/no/such/file".to_owned()));
        let error = missing.get("NAME").unwrap_err();
        assert_eq!(error.to_string(), "NAME_FILE is \"/no/such/file\", and this file cannot be read");
        assert!(error.source().is_some());
        for content in [&b""[..], b"\n"] {
            let error = read_file(content).unwrap_err().to_string();
            assert!(error.starts_with("NAME_FILE is \"/") && error.ends_with("this file is empty"), "{error}");
        }
        let error = read_file(b"hunter2\xff").unwrap_err();
        assert!(matches!(error, VariableError::File { .. }) && !format!("{error:?}").contains("hunter2"), "{error:?}");
    }

    #[test]
    fn variable_and_file_together_are_refused() {
        let error = read_both().unwrap_err().to_string();
        assert_eq!(error, "NAME and NAME_FILE are both set: set one of them");
    }

    fn read_both() -> Result<Option<String>, VariableError> {
        let this = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        Variables::new(&|name| Some(if name == "NAME" { "value".to_owned() } else { this.to_owned() })).get("NAME")
    }
}
