//! The fuzz targets without a fuzzer: over the corpus, over changed inputs of it, and over long ones.
//!
//! `PROPTEST_CASES` makes more changed inputs, `PROPTEST_RNG_SEED` others.

#[path = "../../fuzz/src/targets/mod.rs"]
#[expect(unreachable_pub, reason = "fuzz/ makes a library of it")]
mod targets;

use std::{env, fmt, fs, path::Path};

use proptest::{
    collection::vec,
    prelude::{Strategy, any, prop_oneof},
    sample::Index,
    test_runner::{Config, RngSeed, TestRunner},
};

macro_rules! targets {
    ($($target:ident),+) => {$(
        mod $target {
            #[test]
            fn holds_for_the_corpus_and_near_it() {
                crate::corpus_and_near_it(stringify!($target), crate::targets::$target);
            }

            #[test]
            fn holds_for_long_inputs_and_ends() {
                crate::long_inputs(stringify!($target), crate::targets::$target);
            }
        }
    )+};
}
targets!(intake, options, otlp, sanitize_json, sanitize_text, sql, trace_headers, wildcard);

/// Changed inputs for each target, unless `PROPTEST_CASES` is set.
const CASES: u32 = 1_000;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn corpus_and_near_it(name: &str, target: fn(&[u8])) {
    let corpus = corpus(name);
    assert!(corpus.len() > 5, "only {} inputs", corpus.len());
    corpus.iter().for_each(|input| target(input));

    let set = |variable| env::var_os(variable).is_some();
    let default = Config::default();
    let config = Config {
        cases: if set("PROPTEST_CASES") { default.cases } else { CASES },
        rng_seed: if set("PROPTEST_RNG_SEED") { default.rng_seed } else { RngSeed::Fixed(1) },
        failure_persistence: None,
        ..default
    };
    let others = vec(proptest::sample::select(corpus.clone()), 1..3);
    let inputs =
        (proptest::sample::select(corpus), others, vec(change(), 1..8)).prop_map(|(mut input, others, changes)| {
            changes.iter().for_each(|change| change.apply(&mut input, &others));
            Input(input)
        });
    let tested = TestRunner::new(config).run(&inputs, |input| {
        target(&input.0);
        Ok(())
    });
    if let Err(error) = tested {
        panic!("{error}");
    }
}

/// A text over and over, alone and within the line that the target reads.
fn long_inputs(name: &str, target: fn(&[u8])) {
    const LENGTH: usize = 64 * 1024;
    let pieces = [
        "a",
        "\"",
        "'",
        "\\",
        "[",
        "{\"a\":",
        "/*",
        "$a$ ",
        "$a1b ",
        "$",
        "*",
        "%",
        "?",
        "://",
        "@",
        "http://a@",
        "=",
        "a=1,",
        "-",
        "&",
        ";",
        "\n",
        "é",
        "(?i)",
        "?token=",
        ".",
    ];
    for piece in pieces {
        let long = piece.repeat(LENGTH / piece.len());
        target(long.as_bytes());
        for mut input in corpus(name) {
            input.truncate(4 * 1024);
            let middle = input.len() / 2;
            input.splice(middle..middle, long.bytes().take(LENGTH / 16));
            target(&input);
        }
    }
}

/// Prints as text.
#[derive(Clone)]
struct Input(Vec<u8>);

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// What a fuzzer does to an input.
#[derive(Debug, Clone)]
enum Change {
    Put(Index, u8),
    Insert(Index, &'static str),
    Remove(Index, Index),
    Repeat(Index, Index),
    Splice(Index, Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    const TOKENS: &[&str] = &[
        "\"", "\\", "{", "}", "[", "]", ",", ":", "=", "&", ";", "*", "%", "\n", " ", "\t", "\0", "://", "@", "?", "#",
        "'", "`", "$", "/*", "--", ".", "-", "-1", "1e400", "null", "password", "token", "\\ud800", "\\u0000", "é",
        "ß", "Σ", "İ", "\u{212a}", "\u{202e}", "\u{2028}", "\r",
    ];
    let at = any::<Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Put(at, byte)),
        (at(), proptest::sample::select(TOKENS)).prop_map(|(at, text)| Change::Insert(at, text)),
        (at(), at()).prop_map(|(from, to)| Change::Remove(from, to)),
        (at(), at()).prop_map(|(from, to)| Change::Repeat(from, to)),
        (at(), at(), at()).prop_map(|(at, which, from)| Change::Splice(at, which, from)),
    ]
}

impl Change {
    fn apply(&self, input: &mut Vec<u8>, others: &[Vec<u8>]) {
        let place = |at: &Index| at.index(input.len() + 1);
        // take a few bytes, or many
        let stretch = |from: &Index, to: &Index| {
            let from = place(from);
            from..input.len().min(from + 1 + to.index(16))
        };
        match self {
            Self::Put(at, byte) => {
                let at = place(at);
                if let Some(place) = input.get_mut(at) {
                    *place = *byte;
                }
            }
            Self::Insert(at, text) => {
                let at = place(at);
                input.splice(at..at, text.bytes());
            }
            Self::Remove(from, to) => {
                let range = stretch(from, to);
                if range.start < range.end {
                    input.drain(range);
                }
            }
            Self::Repeat(from, to) => {
                let range = stretch(from, to);
                if range.start < range.end {
                    let again = input[range.clone()].repeat(3);
                    input.splice(range.start..range.start, again);
                }
            }
            Self::Splice(at, which, from) => {
                let (at, other) = (place(at), &others[which.index(others.len())]);
                let from = from.index(other.len() + 1);
                input.splice(at.., other[from..].iter().copied());
            }
        }
    }
}
