//! Passes the version of the compiler to the crate, which sends it as the version of the language.

use std::{env, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(compiler).arg("--version").output().ok();
    let text = output.and_then(|output| String::from_utf8(output.stdout).ok());
    // `rustc 1.88.0 (6b00bc388 2025-06-23)`
    if let Some(version) = text.as_deref().and_then(|text| text.split_whitespace().nth(1)) {
        println!("cargo::rustc-env=TOWER_APM_RUSTC_VERSION={version}");
    }
}
