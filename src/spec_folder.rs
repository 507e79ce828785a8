//! For tests: files of the folder with Elastic's published schemas and test vectors, where it is there.

use std::{fs, path::Path};

use serde_json::Value;

/// The file as JSON; None, and one line that says so, where it is absent. `APM_SPEC_DIR` names the folder.
pub(crate) fn json(file: &str) -> Option<Value> {
    let folder = std::env::var("APM_SPEC_DIR")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/spec").to_owned());
    let path = Path::new(&folder).join(file);
    let Ok(text) = fs::read_to_string(&path) else {
        println!("skipped: no {}", path.display());
        return None;
    };
    Some(serde_json::from_str(&text).expect("JSON"))
}
