//! Fuzz targets for the parsers of text from outside.
//!
//! Each target checks properties that must hold for every input, and that the input causes no panic.
//!
//! ```sh
//! cargo +nightly fuzz run wildcard          # runs until it finds a failure; needs `cargo install cargo-fuzz`
//! cargo run --bin wildcard -- FILE...       # runs one input, on stable
//! ```
//!
//! `tests/fuzz` of the crate runs the same targets over `corpus/`, and over changed inputs of it, under `cargo test`.
//! An input that found something goes into the corpus under a name that says what it is.

pub mod targets;

#[cfg(fuzzing)]
#[doc(hidden)]
pub use libfuzzer_sys;

/// The program around one target.
#[macro_export]
macro_rules! fuzz {
    ($target:ident) => {
        #[cfg(fuzzing)]
        $crate::libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::targets::$target(data));

        #[cfg(not(fuzzing))]
        fn main() {
            $crate::run($crate::targets::$target);
        }
    };
}

/// Feeds the files that are named on the command line.
#[cfg(not(fuzzing))]
pub fn run(target: fn(&[u8])) {
    for path in std::env::args_os().skip(1) {
        let data = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        target(&data);
        println!("{}: fine", path.display());
    }
}
