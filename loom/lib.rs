//! Runs the parts of `src/state/` that several threads or processes use at once in every order that the
//! memory model allows: `loom/run`.
#![cfg(loom)]

#[path = "../src/state/record.rs"]
pub mod record;
#[path = "../src/state/seqlock.rs"]
mod seqlock;
#[path = "../src/state/table.rs"]
pub mod table;

mod word {
    pub use loom::sync::atomic::AtomicU64 as Word;
    pub use loom::sync::atomic::{Ordering, fence};
}

#[cfg(test)]
mod seqlock_tests;
#[cfg(test)]
mod table_tests;
