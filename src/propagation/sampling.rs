//! The one decision, at the root of a trace; everything below follows it.

/// Whether a trace that begins here is sampled, by the rounded rate and 64 random bits.
pub(crate) fn is_sampled(rate: f64, random: u64) -> bool {
    // 2⁶⁴ is no u64, and a conversion of `random` would round
    rate >= 1.0 || random < (rate * 18_446_744_073_709_551_616.0) as u64
}
