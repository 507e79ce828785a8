use std::collections::HashMap;

use tower_apm::{
    EnvVars,
    internals::{OptionValue, Options, options as read},
};

/// The options. The input is a list of variables, one `NAME=value` per line.
///
/// Each variable is valid or causes one warning, a valid value can be written and read again, and no secret is shown.
pub fn options(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let variables: HashMap<_, _> = text.lines().filter_map(|line| line.split_once('=')).collect();
    let environment = |variables: &HashMap<&str, &str>| {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<EnvVars>()
    };
    let found = read(&environment(&variables));
    for warning in &found.warnings {
        let named =
            variables.keys().filter(|name| !name.is_empty() && warning.starts_with(&format!("{name}="))).count();
        assert_eq!(named, 1, "{warning} names a variable");
    }
    assert!(found.warnings.len() <= variables.len() + 2, "{:?}", found.warnings);

    let writable = |value: &&OptionValue| !value.secret && !value.shown.trim().is_empty();
    let written: HashMap<_, _> =
        found.values.iter().filter(writable).map(|value| (value.variable, value.shown.as_str())).collect();
    let again = read(&environment(&written));
    assert!(again.warnings.is_empty(), "{:?}", again.warnings);
    for (first, second) in found.values.iter().zip(&again.values).filter(|(first, _)| writable(first)) {
        assert_eq!(first, second, "a shown value is read as the same value");
    }

    // the output must not change with other secrets of the same characters
    let other: HashMap<_, _> = variables
        .iter()
        .map(|(name, value)| (*name, if is_secret(&found, name) { rotated(value) } else { (*value).to_owned() }))
        .collect();
    let other = read(&environment(&other.iter().map(|(name, value)| (*name, value.as_str())).collect()));
    let sorted = |options: &Options| {
        let mut warnings = options.warnings.clone();
        warnings.sort();
        (options.values.clone(), warnings, options.described.clone())
    };
    assert_eq!(sorted(&found), sorted(&other), "a secret is shown");
}

fn is_secret(options: &Options, variable: &str) -> bool {
    options.values.iter().any(|value| value.secret && value.variable == variable)
}

fn rotated(text: &str) -> String {
    let next = |c: char, first: u8, count: u8| char::from(first + (c as u8 - first + 1) % count);
    let rotate = |c: char| match c {
        'a'..='z' => next(c, b'a', 26),
        'A'..='Z' => next(c, b'A', 26),
        '0'..='9' => next(c, b'0', 10),
        _ => c,
    };
    text.chars().map(rotate).collect()
}
