//! Elastic's published schemas and examples, for the tests that are ignored without them.

use std::{env, fs, path::Path};

use serde_json::Value;

/// Reads a JSON file of the folder that `APM_SPEC_DIR` names.
pub(crate) fn json(file: &str) -> Value {
    let folder = env::var_os("APM_SPEC_DIR").expect("APM_SPEC_DIR must name the folder with the published files");
    let path = Path::new(&folder).join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}
