//! The parts of `src/shared/` that several threads, or processes, use at once, with atomics that try every order which the
//! memory model allows: `loom/run`.
#![cfg(loom)]

#[path = "../src/shared/seqlock.rs"]
mod seqlock;
#[path = "../src/shared/table.rs"]
pub mod table;

mod word {
    pub use loom::sync::atomic::AtomicU64 as Word;
    pub use loom::sync::atomic::{Ordering, fence};
}
