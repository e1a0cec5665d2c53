//! The parts of `src/state/` that several threads, or processes, use at once, with atomics that try every order which the
//! memory model allows: `loom/run`.
#![cfg(loom)]

#[path = "../src/state/seqlock.rs"]
mod seqlock;
#[path = "../src/state/table.rs"]
pub mod table;

mod word {
    pub use loom::sync::atomic::AtomicU64 as Word;
    pub use loom::sync::atomic::{Ordering, fence};
}
