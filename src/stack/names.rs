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
    "futures_channel",
    "futures_io",
    "futures_sink",
    "async_stream",
    "async_trait",
    "tokio_stream",
    "tokio_rustls",
    "bytes",
    "dashmap",
    "hashbrown",
    "indexmap",
    "log",
    "once_cell",
    "parking_lot",
    "parking_lot_core",
    "regex",
    "smallvec",
    "prost",
    "deadpool",
    "diesel",
    "mongodb",
    "rdkafka",
    "redis",
    "tokio_postgres",
    "hyper_rustls",
    "hyper_tls",
    "tower_cookies",
    "tower_sessions",
    "tracing_log",
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
    // by which spans end and error events come
    "tracing",
    "tracing_core",
    "tracing_futures",
    "tracing_log",
    "tracing_opentelemetry",
    "tracing_subscriber",
    "log",
    "opentelemetry",
    "opentelemetry_sdk",
];

/// The crates that call handlers and middleware.
const FRAMEWORKS: &[&str] = &["axum", "axum_core", "axum_extra", "tonic", "tower_apm"];

/// Without the hash, without the closures that `async` and iterators put behind the function that was written, without
/// arguments of types, which one way of mangling writes and the other does not, and without the numbers of closures and
/// `impl` blocks, which change with the code around them.
pub(super) fn function(name: &str) -> String {
    without_arguments(&without_numbers(&without_closures(name)))
}

fn without_closures(name: &str) -> String {
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
    clean.push_str(rest.split_once("{{").map_or(rest, |(before, _)| before));
    clean
}

/// `{impl#3}` is `{impl}`.
fn without_numbers(name: &str) -> String {
    let mut parts = name.split('#');
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|digit: char| digit.is_ascii_digit());
        if !rest.starts_with('}') {
            clean.push('#');
            clean.push_str(part);
        } else {
            clean.push_str(rest);
        }
    }
    clean
}

/// `shop::Cart<T>::buy` and `shop::Cart::buy::<u8>` are `shop::Cart::buy`. The brackets around `<shop::Cart as Sale>::buy`
/// stay, and so do those of an `impl` within a path.
fn without_arguments(name: &str) -> String {
    let mut clean = String::with_capacity(name.len());
    let mut rest = name;
    // brackets that stay open
    let mut kept = 0_u32;
    while let Some(at) = rest.find(['<', '>']) {
        clean.push_str(&rest[..at]);
        let inside = &rest[at + 1..];
        let is_arrow = clean.ends_with('-');
        rest = match (rest.as_bytes()[at], clean.chars().last()) {
            (b'>', _) if kept > 0 && !is_arrow => {
                kept -= 1;
                clean.push('>');
                inside
            }
            (b'>', _) => {
                clean.push('>');
                inside
            }
            (_, None | Some('<' | '(' | '[' | '&' | ' ' | ',' | '*')) => {
                kept += 1;
                clean.push('<');
                inside
            }
            (_, Some(':')) if inside.starts_with("impl ") => {
                kept += 1;
                clean.push('<');
                inside
            }
            _ => {
                let turbofish = clean.strip_suffix("::").map(str::len);
                clean.truncate(turbofish.unwrap_or(clean.len()));
                end_of_arguments(inside)
            }
        };
    }
    clean.push_str(rest);
    clean
}

/// What comes behind the bracket that closes the one before `text`.
fn end_of_arguments(text: &str) -> &str {
    let mut depth = 1_u32;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        match c {
            '<' => depth += 1,
            '>' if before != '-' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[at + 1..];
        }
        before = c;
    }
    ""
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

/// The path without its last part: of a plain function, or of the type whose method it is.
pub(super) fn module(function: &str) -> Option<&str> {
    let path = if function.starts_with('<') {
        owner(function)
    } else {
        match function.find(['<', '{', ' ']) {
            // `shop::market::<impl Sale for u8>::buy`: the path is the module's
            Some(at) if function[..at].ends_with("::") => return function[..at].strip_suffix("::"),
            Some(at) => &function[..at],
            None => function,
        }
    };
    path.rsplit_once("::").map(|(module, _)| module).filter(|module| !module.is_empty())
}

/// The path that says whose a function is: the type of a method, or the trait where the type is a parameter or the
/// language's own. Of `<shop::Cart as core::ops::Drop>::drop` it is `shop::Cart`, of `<F as axum::Handler>::call` it is
/// `axum::Handler`.
fn owner(function: &str) -> &str {
    let own = path_at_start(function);
    match function.split_once(" as ") {
        Some((_, of)) if function.starts_with('<') && !own.contains("::") => path_at_start(of),
        _ => own,
    }
}

fn path_at_start(text: &str) -> &str {
    let mut path = text;
    loop {
        let bare = path.trim_start_matches(['<', '&', '*', '[', '(', ' ']);
        let bare = ["mut ", "dyn ", "const ", "impl "].iter().find_map(|word| bare.strip_prefix(word)).unwrap_or(bare);
        if bare.len() == path.len() {
            break;
        }
        path = bare;
    }
    let end = path.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(path.len());
    &path[..end]
}

/// The crate that a function belongs to: of `<shop::Cart as core::ops::Drop>::drop` it is `shop`.
pub(super) fn crate_of(function: &str) -> &str {
    owner(function).split("::").next().unwrap_or_default()
}

pub(super) fn is_library_crate(name: &str) -> bool {
    LIBRARIES.contains(&name) || is_runtime_symbol(name)
}

pub(super) fn is_glue_crate(name: &str) -> bool {
    GLUE.contains(&name) || is_runtime_symbol(name)
}

pub(super) fn is_framework_crate(name: &str) -> bool {
    FRAMEWORKS.contains(&name)
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

/// A source file of this agent, also where it is built from a folder beside the application's.
pub(super) fn is_own_file(path: &str) -> bool {
    is_beside(path, file!(), "stack/names.rs")
}

/// In the folder of sources in which another file has a known place.
fn is_beside(path: &str, other: &str, place: &str) -> bool {
    let (path, other) = (path.replace('\\', "/"), other.replace('\\', "/"));
    match other.strip_suffix(place) {
        // of a package at the root of its workspace: every other package has such a folder
        None | Some("" | "src/") => false,
        // the compiler names it from the root of the file system or from that of the workspace
        Some(sources) => path.find(sources).is_some_and(|at| at == 0 || path[..at].ends_with('/')),
    }
}

/// The crate whose source a file is, where its path tells.
pub(super) fn crate_of_file(path: &str) -> Option<String> {
    if is_own_file(path) {
        return Some("tower_apm".to_owned());
    }
    if !is_library_file(path) {
        return None;
    }
    let inside = file(path);
    let (package, _) = inside.strip_prefix("library/").unwrap_or(&inside).split_once('/')?;
    let is_version = |at: &usize| package[at + 1..].starts_with(|first: char| first.is_ascii_digit());
    let name = package.match_indices('-').map(|(at, _)| at).find(is_version).map_or(package, |at| &package[..at]);
    Some(name.replace('-', "_"))
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
    fn function_names_are_the_same_in_every_build() {
        for (name, stable) in [
            ("shop::buy::h0123456789abcdef", "shop::buy"),
            ("shop::buy::{{closure}}", "shop::buy"),
            ("shop::buy::{{closure}}::{{closure}}::h0123456789abcdef", "shop::buy"),
            ("shop::buy::{closure#0}", "shop::buy"),
            ("shop::buy::{{closure}}::inner", "shop::buy::inner"),
            ("shop::buy::{async_fn_env#0}", "shop::buy"),
            ("shop::{impl#3}::buy", "shop::{impl}::buy"),
            ("{closure#1}<u32>", "{closure}"),
            ("{async_fn#0}<shop::Chain<u32>>", "{async_fn}"),
            ("<shop::Cart as tower::Service<R>>::call", "<shop::Cart as tower::Service>::call"),
            ("<shop::Cart<u8> as tower::Service<R<T>>>::call", "<shop::Cart as tower::Service>::call"),
            ("<&mut shop::Cart<fn(u8) -> R> as shop::Sale>::sell::<u8>", "<&mut shop::Cart as shop::Sale>::sell"),
            ("<[shop::Cart<T>] as shop::Sale>::sell", "<[shop::Cart] as shop::Sale>::sell"),
            ("shop::Cart<T>::buy", "shop::Cart::buy"),
            ("shop::buy::<shop::Cart<fn() -> u8>, 3>", "shop::buy"),
            ("shop::buy::<shop::Cart>::{closure#0}", "shop::buy"),
            ("shop::market::<impl shop::Sale<T> for u8>::sell", "shop::market::<impl shop::Sale for u8>::sell"),
            ("settle<core::ops::{closure_env#0}<&u64>, u64>", "settle"),
            ("core::ops::FnOnce::call_once{{vtable.shim}}", "core::ops::FnOnce::call_once"),
            ("shop::buy::<cut", "shop::buy"),
            ("shop::of#1", "shop::of#1"),
            ("shop::hash", "shop::hash"),
            ("", ""),
        ] {
            assert_eq!(function(name), stable, "{name}");
        }
    }

    #[test]
    fn frame_is_classified_by_its_crate() {
        for (name, of, library) in [
            ("shop::buy", "shop", false),
            ("<shop::Cart as core::ops::Drop>::drop", "shop", false),
            ("<&mut dyn shop::Chain as shop::Settle>::settle", "shop", false),
            ("<T as shop::Settle>::settle", "shop", false),
            ("<F as axum::handler::Handler<((),),S>>::call", "axum", true),
            ("<alloc::boxed::Box<F> as core::ops::FnOnce<A>>::call_once", "alloc", true),
            ("<F as axum::handler::Handler>::call", "axum", true),
            ("<str as shop::Sale>::sell", "shop", false),
            ("tower_apm::capture::new", "tower_apm", true),
            ("main", "main", true),
            ("__rust_begin_short_backtrace", "__rust_begin_short_backtrace", true),
        ] {
            assert_eq!(crate_of(name), of);
            assert_eq!(is_library_crate(of), library, "{name}");
        }
        assert_eq!(module("shop::market::buy"), Some("shop::market"));
        assert_eq!(module("shop::Cart<T>::buy"), Some("shop"));
        assert_eq!(module("<shop::market::Cart as core::ops::Drop>::drop"), Some("shop::market"));
        assert_eq!(module("<F as axum::handler::Handler>::call"), Some("axum::handler"));
        assert_eq!(module("shop::market::<impl shop::Sale for u8>::sell"), Some("shop::market"));
        assert_eq!(module("main"), None);
        assert_eq!(module("{closure}"), None);
    }

    #[test]
    fn inlined_function_is_classified_by_its_file() {
        let registry = "/home/ada/.cargo/registry/src/registry.example-0123456789abcdef/";
        for (path, of) in [
            (format!("{registry}opentelemetry-0.33.1/src/trace/context.rs"), Some("opentelemetry")),
            (format!("{registry}tracing-core-0.1.36/src/dispatcher.rs"), Some("tracing_core")),
            (format!("{registry}sea-orm-2.0.0-rc.1/src/lib.rs"), Some("sea_orm")),
            ("/rustc/17067e9ac6d/library/core/src/ptr/mod.rs".to_owned(), Some("core")),
            ("/home/ada/.cargo/git/checkouts/tower-apm-0123/4567abc/src/lib.rs".to_owned(), Some("tower_apm")),
            ("/home/ada/shop/src/main.rs".to_owned(), None),
            ("src/main.rs".to_owned(), None),
        ] {
            assert_eq!(crate_of_file(&path).as_deref(), of, "{path}");
        }
    }

    #[test]
    fn source_files_of_the_agent_are_recognized_in_any_folder() {
        for (path, here, own) in [
            ("/home/ada/apm/src/capture/mod.rs", "/home/ada/apm/src/stack/names.rs", true),
            ("/home/ada/shop/crates/apm/src/capture/mod.rs", "crates/apm/src/stack/names.rs", true),
            ("crates/apm/src/capture/mod.rs", "crates/apm/src/stack/names.rs", true),
            (r"C:\ada\apm\src\capture\mod.rs", r"C:\ada\apm\src\stack\names.rs", true),
            ("/home/ada/shop/src/main.rs", "/home/ada/apm/src/stack/names.rs", false),
            ("/home/ada/shop/mycrates/apm/src/main.rs", "crates/apm/src/stack/names.rs", false),
            ("/home/ada/shop/src/main.rs", "src/stack/names.rs", false),
            ("src/main.rs", "src/stack/names.rs", false),
        ] {
            assert_eq!(is_beside(path, here, "stack/names.rs"), own, "{path} {here}");
        }
    }

    #[test]
    fn file_names_contain_no_path_of_the_build_machine() {
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
