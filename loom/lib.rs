//! Runs the parts of `src/state/` that several threads or processes use at once in every order that the
//! memory model allows: `loom/run`.
#![cfg(loom)]

#[path = "../src/state/indexed.rs"]
pub mod indexed;
#[path = "../src/state/record.rs"]
pub mod record;
#[path = "../src/state/seqlock.rs"]
mod seqlock;
#[path = "../src/state/table.rs"]
pub mod table;
#[path = "../src/state/in_flight/threads.rs"]
pub mod threads;

mod word {
    pub use loom::sync::atomic::AtomicU64 as Word;
    pub use loom::sync::atomic::{Ordering, fence};
}

mod state {
    pub(crate) use crate::word;
}

/// Stands for `src/state/in_flight/clock.rs`, which asks the kernel.
mod clock {
    #[derive(Clone, Copy)]
    pub struct Moment(pub u64);
}

/// Stands for `src/state/in_flight/request.rs`.
mod request {
    #[derive(Clone, Copy)]
    pub struct Unique(pub u64);

    impl Unique {
        pub fn get(self) -> u64 {
            self.0
        }
    }
}

#[cfg(test)]
mod indexed_tests;
#[cfg(test)]
mod seqlock_tests;
#[cfg(test)]
mod table_tests;
#[cfg(test)]
mod threads_tests;
