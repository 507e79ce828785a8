//! Names of functions and files without what changes from build to build.

/// Crates whose frames are never the application's. Paths below a registry or the toolchain count as well.
const LIBRARIES: &[&str] = &[
    "std",
    "core",
    "alloc",
    "test",
    "proc_macro",
    "backtrace",
    "tokio",
    "tokio_util",
    "mio",
    "futures",
    "futures_core",
    "futures_util",
    "futures_executor",
    "async_trait",
    "hyper",
    "hyper_util",
    "http",
    "http_body",
    "http_body_util",
    "h2",
    "tower",
    "tower_service",
    "tower_layer",
    "tower_http",
    "tower_apm",
    "axum",
    "axum_core",
    "axum_extra",
    "tonic",
    "tracing",
    "tracing_core",
    "tracing_futures",
    "tracing_subscriber",
    "tracing_opentelemetry",
    "opentelemetry",
    "opentelemetry_sdk",
    "reqwest",
    "sqlx",
    "sqlx_core",
    "sea_orm",
    "serde",
    "serde_json",
    "anyhow",
    "eyre",
    "color_eyre",
    "rayon",
    "crossbeam",
    "pin_project",
    "pin_project_lite",
    "rustls",
];

/// Crates that stand between the place of an error, or of the end of a span, and the code that caught its stack.
const GLUE: &[&str] = &[
    "std",
    "core",
    "alloc",
    "backtrace",
    "tower_apm",
    "anyhow",
    "eyre",
    "color_eyre",
    "tracing",
    "tracing_core",
    "tracing_futures",
    "tracing_opentelemetry",
    "tracing_subscriber",
    "opentelemetry",
    "opentelemetry_sdk",
];

/// Without the hash, and without the closures that `async` and iterators put behind the function that was written.
pub(super) fn function(name: &str) -> String {
    let mut rest = without_hash(name.trim());
    let mut clean = String::with_capacity(rest.len());
    while let Some((before, brace)) = rest.split_once("::{") {
        clean.push_str(before);
        match end_of_braces(brace) {
            Some(after) if !brace.starts_with("impl") => rest = after,
            _ => {
                clean.push_str("::{");
                rest = brace;
            }
        }
    }
    clean.push_str(rest);
    clean
}

/// What comes behind the brace that closes the one before `text`.
fn end_of_braces(text: &str) -> Option<&str> {
    let mut depth = 1_u32;
    text.char_indices().find_map(|(at, c)| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        (depth == 0).then(|| &text[at + 1..])
    })
}

fn without_hash(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((path, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => path,
        _ => name,
    }
}

/// The path without its last part, where it is a plain path.
pub(super) fn module(function: &str) -> Option<&str> {
    match function.split_once(['<', '{', ' ']) {
        Some((path, _)) => path.strip_suffix("::").unwrap_or(path).rsplit_once("::").map(|(module, _)| module),
        None => function.rsplit_once("::").map(|(module, _)| module),
    }
    .filter(|module| !module.is_empty())
}

/// The first crate that a function's name mentions: of `<shop::Cart as core::ops::Drop>::drop` it is `shop`. A type
/// parameter belongs to none, so of `<T as shop::Settle>::settle` it is `shop` too.
pub(super) fn crate_of(function: &str) -> &str {
    let mut path = function;
    loop {
        let bare = path.trim_start_matches(['<', '&', '*', '[', '(', ' ']);
        let bare = ["mut ", "dyn ", "const ", "impl "].iter().find_map(|word| bare.strip_prefix(word)).unwrap_or(bare);
        if bare.len() == path.len() {
            break;
        }
        path = bare;
    }
    let end = path.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(path.len());
    match path[end..].strip_prefix(" as ") {
        Some(of) => crate_of(of),
        None => &path[..end],
    }
}

pub(super) fn is_library_crate(name: &str) -> bool {
    LIBRARIES.contains(&name) || is_runtime_symbol(name)
}

pub(super) fn is_glue_crate(name: &str) -> bool {
    GLUE.contains(&name) || is_runtime_symbol(name)
}

/// A method of a trait of this agent, on a type of whomever: `<http::Response<B> as tower_apm::ResponseExt>::with_error`.
pub(super) fn is_own_trait(function: &str) -> bool {
    function.split_once(" as ").is_some_and(|(_, of)| crate_of(of) == "tower_apm")
}

/// Symbols of the language's and the system's start-up and unwinding code, which belong to no crate.
fn is_runtime_symbol(name: &str) -> bool {
    matches!(name, "" | "_" | "main" | "_start" | "start_thread" | "clone" | "clone3" | "rust_begin_unwind")
        || name.starts_with("__")
        || name.starts_with("_Unwind")
}

pub(super) fn is_library_file(path: &str) -> bool {
    let path = path.replace('\\', "/");
    path.starts_with("/rustc/") || path.contains(REGISTRY) || path.contains(GIT) || path.contains("/rustlib/src/")
}

const REGISTRY: &str = "/registry/src/";
const GIT: &str = "/git/checkouts/";

/// Relative: a crate's file begins with its name, and that of the toolchain with `library/`.
pub(super) fn file(path: &str) -> String {
    let path = path.replace('\\', "/");
    let path = path.strip_prefix("./").unwrap_or(&path);
    if let Some((_, inside)) = path.strip_prefix("/rustc/").and_then(|path| path.split_once('/')) {
        return inside.to_owned();
    }
    if let Some((_, inside)) = path.split_once("/rustlib/src/rust/") {
        return inside.to_owned();
    }
    if let Some((_, inside)) = path.split_once(REGISTRY) {
        return inside.split_once('/').map_or(inside, |(_, inside)| inside).to_owned();
    }
    if let Some((_, inside)) = path.split_once(GIT) {
        // repository-hash/revision/path
        let mut parts = inside.splitn(3, '/');
        let repository = parts.next().unwrap_or_default();
        let repository = repository.rsplit_once('-').map_or(repository, |(name, _)| name);
        return format!("{repository}/{}", parts.nth(1).unwrap_or_default());
    }
    let absolute = path.starts_with('/') || path.get(1..3) == Some(":/");
    if !absolute {
        return path.to_owned();
    }
    // the folder that holds `src` is the package
    let package = path.rfind("/src/").map(|src| path[..src].rfind('/').map_or(0, |slash| slash + 1));
    match package {
        Some(start) => path[start..].to_owned(),
        None => path.rsplit_once('/').map_or(path, |(_, name)| name).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_the_same_in_every_build() {
        for (name, stable) in [
            ("shop::buy::h0123456789abcdef", "shop::buy"),
            ("shop::buy::{{closure}}", "shop::buy"),
            ("shop::buy::{{closure}}::{{closure}}::h0123456789abcdef", "shop::buy"),
            ("shop::buy::{closure#0}", "shop::buy"),
            ("shop::buy::{{closure}}::inner", "shop::buy::inner"),
            ("shop::buy::{async_fn_env#0}", "shop::buy"),
            ("shop::{impl#3}::buy", "shop::{impl#3}::buy"),
            ("<shop::Cart as tower::Service<R>>::call", "<shop::Cart as tower::Service<R>>::call"),
            ("shop::hash", "shop::hash"),
            ("", ""),
        ] {
            assert_eq!(function(name), stable, "{name}");
        }
    }

    #[test]
    fn the_crate_decides_whose_frame_it_is() {
        for (name, of, library) in [
            ("shop::buy", "shop", false),
            ("<shop::Cart as core::ops::Drop>::drop", "shop", false),
            ("<&mut dyn shop::Chain as shop::Settle>::settle", "shop", false),
            ("<T as shop::Settle>::settle", "shop", false),
            ("<F as axum::handler::Handler<((),),S>>::call", "axum", true),
            ("<alloc::boxed::Box<F> as core::ops::FnOnce<A>>::call_once", "alloc", true),
            ("tower_apm::capture::new", "tower_apm", true),
            ("main", "main", true),
            ("__rust_begin_short_backtrace", "__rust_begin_short_backtrace", true),
        ] {
            assert_eq!(crate_of(name), of);
            assert_eq!(is_library_crate(of), library, "{name}");
        }
        assert_eq!(module("shop::market::buy"), Some("shop::market"));
        assert_eq!(module("shop::Cart<T>::buy"), Some("shop"));
        assert_eq!(module("<shop::Cart as A>::b"), None);
        assert_eq!(module("main"), None);
    }

    #[test]
    fn files_tell_nothing_of_the_build_machine() {
        for (path, relative, library) in [
            ("src/main.rs", "src/main.rs", false),
            ("./src/main.rs", "src/main.rs", false),
            ("/home/ada/work/shop/src/market/mod.rs", "shop/src/market/mod.rs", false),
            ("/home/ada/build.rs", "build.rs", false),
            (r"C:\Users\ada\shop\src\main.rs", "shop/src/main.rs", false),
            ("/rustc/17067e9ac6d/library/core/src/panicking.rs", "library/core/src/panicking.rs", true),
            (
                "/home/ada/.rustup/toolchains/x/lib/rustlib/src/rust/library/std/src/rt.rs",
                "library/std/src/rt.rs",
                true,
            ),
            (
                "/home/ada/.cargo/registry/src/registry.example-0123456789abcdef/axum-0.8.9/src/lib.rs",
                "axum-0.8.9/src/lib.rs",
                true,
            ),
            ("/home/ada/.cargo/git/checkouts/lib-0123/4567abc/src/lib.rs", "lib/src/lib.rs", true),
        ] {
            assert_eq!(file(path), relative);
            assert_eq!(is_library_file(path), library, "{path}");
        }
    }
}
