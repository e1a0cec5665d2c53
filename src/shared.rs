//! Memory that outlives the process that writes it: tables of records, in words that several processes have mapped.
//!
//! A process may die at any moment, and another goes on with what is there. So a record is there as a whole or not at all
//! (`seqlock`), and what is there is found without touching the rest (`table`).

mod map;
mod seqlock;
mod table;

pub use self::map::Map;
pub use self::table::{Record, Table};

/// A word of such memory.
pub use self::sync::AtomicU64 as Word;

/// For which the tests in `loom/` have what tries every order.
mod sync {
    pub use std::sync::atomic::{AtomicU64, Ordering, fence};
}
