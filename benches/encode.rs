//! `cargo bench --features _internals --bench encode`: what the worker does with one event: map, sanitise, encode, compress.
//!
//! Without `gzip` the line alone, with it also the event's share of the compression, at full batches. Making the event
//! is not measured, freeing it is.

use divan::{AllocProfiler, Bencher};
use tower_apm::internals::{Encoder, Record};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const GZIP: [bool; 2] = [false, true];
/// Of one sample, so that the compressor runs in each.
const EVENTS: u32 = 512;

fn encode(bencher: Bencher<'_, '_>, gzip: bool, make: fn() -> Record) {
    let mut encoder = Encoder::new(gzip).unwrap();
    bencher.with_inputs(make).bench_local_values(|record| assert!(encoder.add(record)));
}

#[divan::bench(args = GZIP, sample_size = EVENTS)]
fn transaction_plain(bencher: Bencher<'_, '_>, gzip: bool) {
    encode(bencher, gzip, Record::transaction);
}

#[divan::bench(args = GZIP, sample_size = EVENTS)]
fn transaction_full_context(bencher: Bencher<'_, '_>, gzip: bool) {
    encode(bencher, gzip, Record::full_transaction);
}

#[divan::bench(args = GZIP, sample_size = EVENTS)]
fn span(bencher: Bencher<'_, '_>, gzip: bool) {
    encode(bencher, gzip, Record::span);
}

/// Nearly all of it is finding the names of the frames.
#[divan::bench(args = GZIP)]
fn error_with_frames(bencher: Bencher<'_, '_>, gzip: bool) {
    encode(bencher, gzip, Record::error);
}
