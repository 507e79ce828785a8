//! Random bits for ids and sampling: one small generator for each thread, seeded by the operating system.

use std::{
    cell::RefCell,
    hash::{BuildHasher, RandomState},
};

use rand::{Rng, SeedableRng, rngs::SmallRng, rngs::SysRng};

fn seeded() -> SmallRng {
    SmallRng::try_from_rng(&mut SysRng).unwrap_or_else(|_| SmallRng::seed_from_u64(RandomState::new().hash_one(0)))
}

thread_local! {
    static GENERATOR: RefCell<SmallRng> = RefCell::new(seeded());
}

/// 64 random bits.
pub(crate) fn random_u64() -> u64 {
    // gone only while the thread ends
    GENERATOR.try_with(|generator| generator.borrow_mut().next_u64()).unwrap_or_else(|_| seeded().next_u64())
}
