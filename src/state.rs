//! Memory that outlives the process that writes it: tables of records, in words that several processes have mapped.
//!
//! A process may die at any moment, and another goes on with what is there. So a record is there as a whole or not at all
//! (`seqlock`), and what is there is found without touching the rest (`table`).

pub mod in_flight;
mod map;
mod seqlock;
mod table;
pub(crate) mod word;

pub use self::map::Map;
pub use self::table::{Record, Table};
pub use self::word::Word;
